//! CPUs of the emulated host: the values of the guest setting `host_cpu`.

/// A CPU model that the emulator offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostCpu {
    /// Value of the setting: the name of the CPU model in QEMU.
    pub name: &'static str,
    /// The CPU model and its properties as QEMU's option `-cpu` takes them.
    pub model: &'static str,
    /// Its vendor, and Firecracker's CPU templates that it permits.
    pub doc: &'static str,
}

/// Every CPU; the first is the default.
pub const HOST_CPUS: &[HostCpu] = &[
    HostCpu { name: "EPYC", model: "EPYC", doc: "AMD, first generation. Firecracker permits no static template." },
    HostCpu {
        name: "EPYC-Milan",
        model: "EPYC-Milan",
        doc: "AMD, third generation. Firecracker permits the template T2A.",
    },
    HostCpu {
        name: "Skylake-Server",
        model: "Skylake-Server",
        doc: "Intel. Firecracker permits the templates C3, T2 and T2S.",
    },
    HostCpu {
        name: "Cascadelake-Server",
        // QEMU's model has stepping 6. Firecracker permits templates on stepping 7 only.
        model: "Cascadelake-Server,stepping=7",
        doc: "Intel, with stepping 7. Firecracker permits the templates C3, T2, T2S and T2CL.",
    },
];

/// The names of [`HOST_CPUS`], in their order.
pub const NAMES: &[&str] = &{
    let mut names = [""; HOST_CPUS.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = HOST_CPUS[at].name;
        at += 1;
    }
    names
};

/// The CPU of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static HostCpu> {
    HOST_CPUS.iter().find(|cpu| cpu.name == name)
}

#[cfg(test)]
mod tests {
    use microbench_formats::cell::DEFAULT_HOST_CPU;

    use super::*;

    #[test]
    fn the_first_cpu_is_that_of_cells_without_the_setting() {
        assert_eq!(NAMES.first(), Some(&DEFAULT_HOST_CPU));
    }
}
