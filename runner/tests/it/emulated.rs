//! Real Firecracker and real QEMU guests in the emulated host.
