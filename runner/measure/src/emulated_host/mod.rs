//! The emulated host: a machine of QEMU's TCG with AMD SVM, in virtual time (one instruction = 1 ns), in which this same
//! program runs real VMMs under real KVM.
//!
//! [`initramfs`] packs all that a trial touches, [`emulator`] boots it, [`inside`] is this program as its first process,
//! [`wire`] is what the two say to each other over a virtio-serial port.

pub mod emulator;
pub mod init;
pub mod initramfs;
pub mod wire;
