//! The emulated host: QEMU emulates a machine with AMD SVM (TCG) in virtual time, one instruction per
//! nanosecond. In it, this crate runs real VMMs under real KVM.
//!
//! - [`initramfs`] packs all files that a trial needs.
//! - [`emulator`] boots the emulated host.
//! - [`init`] is its init, which executes the trials.
//! - [`wire`] is the protocol between the runner and the init over a virtio-serial port.

pub mod emulator;
pub mod init;
pub mod initramfs;
pub mod wire;
