//! CPUs of the emulated host: the values of the guest setting `host_cpu`.

/// A CPU model that the emulator offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostCpu {
    /// Value of the setting: the name of the CPU model in QEMU.
    pub name: &'static str,
    /// The CPU model and its properties as QEMU's option `-cpu` takes them.
    pub model: &'static str,
    /// Its vendor and generation.
    pub doc: &'static str,
    /// Firecracker's static CPU templates (`cpu_template`) that it permits, in addition to `none`.
    pub templates: &'static [&'static str],
}

/// Every CPU; the first is the default.
pub const HOST_CPUS: &[HostCpu] = &[
    HostCpu { name: "EPYC", model: "EPYC", doc: "AMD, first generation", templates: &[] },
    HostCpu { name: "EPYC-Milan", model: "EPYC-Milan", doc: "AMD, third generation", templates: &["T2A"] },
    HostCpu { name: "Skylake-Server", model: "Skylake-Server", doc: "Intel, Skylake", templates: &["C3", "T2", "T2S"] },
    HostCpu {
        name: "Cascadelake-Server",
        // QEMU's model has stepping 6. Firecracker permits templates on stepping 7 only.
        model: "Cascadelake-Server,stepping=7",
        doc: "Intel, Cascade Lake with stepping 7",
        templates: &["C3", "T2", "T2S", "T2CL"],
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

impl HostCpu {
    /// The templates that it permits, for a message: `C3, T2 and T2S`, or `no static template`.
    #[must_use]
    pub fn permitted_templates(&self) -> String {
        match self.templates {
            [] => "no static template".to_owned(),
            [one] => (*one).to_owned(),
            [first @ .., last] => format!("{} and {last}", first.join(", ")),
        }
    }
}

/// The CPUs that permit the static CPU template `template`; none for another text.
pub fn permitting(template: &str) -> impl Iterator<Item = &'static HostCpu> {
    HOST_CPUS.iter().filter(move |cpu| cpu.templates.contains(&template))
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
