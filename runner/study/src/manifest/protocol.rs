//! The readings of the 2019 paper's protocol that a study can follow: what its text says, what its tool did, and what
//! measures the things that it names.
//!
//! A preset is data: defaults of guest settings and definitions of metrics, each with the reason why it differs. What the
//! manifest says itself wins over all of it.

use std::collections::BTreeMap;

use microbench_formats::axis::Level;
use microbench_formats::code::Code;
use microbench_formats::event::reading;
use microbench_formats::plan::Protocol;
use microbench_formats::workload::WorkloadKind;

use super::diagnostic::{Diagnostics, ManifestError};
use super::metrics::Source;
use super::nearest::{quote, suggest};
use super::raw;
use super::settings::DefaultLevel;

/// One reading of the protocol.
#[derive(Debug)]
pub struct Preset {
    /// Which.
    pub protocol: Protocol,
    /// What it is, one phrase.
    pub doc: &'static str,
    /// Defaults of guest settings that differ or that the paper states.
    pub settings: &'static [PresetSetting],
    /// Built-in metrics that are defined otherwise.
    pub metrics: &'static [PresetMetric],
}

/// A default of a guest setting.
#[derive(Debug)]
pub struct PresetSetting {
    /// The setting.
    pub name: &'static str,
    /// Its value where the manifest is silent.
    pub value: DefaultLevel,
    /// The one engine whose guests have it; `None` for all.
    pub engine: Option<&'static str>,
    /// Why, one sentence.
    pub doc: &'static str,
}

/// A definition of a built-in metric.
#[derive(Debug)]
pub struct PresetMetric {
    /// The metric.
    pub name: &'static str,
    pub(super) source: Source,
    /// Why, one sentence.
    pub doc: &'static str,
}

/// What measures the things that the paper names: the defaults of every setting and metric.
pub const CORRECTED: Preset = Preset {
    protocol: Protocol::Corrected,
    doc: "what measures the things that the paper names",
    settings: &[],
    metrics: &[],
};

/// What the paper's text says.
pub const AS_WRITTEN: Preset = Preset {
    protocol: Protocol::AsWritten,
    doc: "what the 2019 paper's text says",
    settings: &[
        PresetSetting {
            name: "vcpus",
            value: DefaultLevel::Int(1),
            engine: None,
            doc: "The text gives each VM one vCPU.",
        },
        PresetSetting {
            name: "memory_mib",
            value: DefaultLevel::Int(512),
            engine: None,
            doc: "The text gives each VM 512 MB.",
        },
        PresetSetting {
            name: "probe",
            value: DefaultLevel::Text("paper"),
            engine: None,
            doc: "The text polls every 10 ms with a timeout of 100 ms.",
        },
    ],
    metrics: &[PresetMetric {
        name: "kernel_boot_time",
        source: Source::Reading(reading::KERNEL_LAST_MESSAGE),
        doc: "The text takes the stamp of the kernel's last message for the end of its boot.",
    }],
};

/// What the paper's tool did.
pub const AS_CODED: Preset = Preset {
    protocol: Protocol::AsCoded,
    doc: "what the 2019 paper's tool did",
    settings: &[
        PresetSetting {
            name: "vcpus",
            value: DefaultLevel::Int(2),
            engine: None,
            doc: "The tool's default was two vCPUs, although the text says one.",
        },
        PresetSetting { name: "memory_mib", value: DefaultLevel::Int(512), engine: None, doc: "As in the text." },
        PresetSetting {
            name: "probe",
            value: DefaultLevel::Text("busy"),
            engine: None,
            doc: "The tool polled without a pause.",
        },
        PresetSetting {
            name: "neighbour",
            value: DefaultLevel::Bool(false),
            engine: None,
            doc: "Without the entry the host repeats its ARP request after a second, which quantises the start-up.",
        },
        PresetSetting {
            name: "reboot",
            value: DefaultLevel::Text("k"),
            engine: None,
            doc: "The tool asked for a restart by the keyboard controller, which QEMU's microvm machine does not have.",
        },
        PresetSetting {
            name: "console",
            value: DefaultLevel::Bool(false),
            engine: Some("firecracker"),
            doc: "The tool gave QEMU's guests a serial console and Firecracker's none.",
        },
    ],
    metrics: &[
        PresetMetric {
            name: "kernel_boot_time",
            source: Source::Reading(reading::KERNEL_RANDOM_FAST_INIT),
            doc: "The tool took the stamp of `random: fast init done`; Linux 5.18 and later print no such message.",
        },
        PresetMetric {
            name: "hashing_time",
            source: Source::Work(WorkloadKind::Copy, 1 << 20, 100),
            doc: "The tool hashed nothing: it allocated and copied 1 MiB 100 times.",
        },
    ],
};

/// Every preset.
pub const PRESETS: [&Preset; 3] = [&CORRECTED, &AS_WRITTEN, &AS_CODED];

/// The preset of this protocol.
#[must_use]
pub fn preset(protocol: Protocol) -> &'static Preset {
    PRESETS.into_iter().find(|preset| preset.protocol == protocol).unwrap_or(&CORRECTED)
}

impl Preset {
    /// Its word in a manifest.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.protocol.into()
    }

    /// Its defaults for guests of `engine`.
    #[must_use]
    pub fn of_engine(&self, engine: &str) -> BTreeMap<String, Level> {
        let applies = |setting: &&PresetSetting| setting.engine.is_none_or(|only| only == engine);
        self.settings.iter().filter(applies).map(|setting| (setting.name.into(), setting.value.into())).collect()
    }

    /// What it changes, one line each: the change and why.
    #[must_use]
    pub fn differences(&self) -> Vec<(String, &'static str)> {
        let settings = self.settings.iter().map(|setting| {
            let level = match Level::from(setting.value) {
                Level::Text(text) => format!("{text:?}"),
                other => other.to_string(),
            };
            let engine = setting.engine.map(|engine| format!(" ({engine})")).unwrap_or_default();
            (format!("{} = {level}{engine}", setting.name), setting.doc)
        });
        let metrics = self.metrics.iter().map(|metric| (format!("{}: {}", metric.name, metric.source), metric.doc));
        settings.chain(metrics).collect()
    }
}

/// The preset that the manifest names.
pub(super) fn check(head: &raw::Head, errors: &mut Diagnostics) -> &'static Preset {
    let Some(name) = &head.protocol else { return &CORRECTED };
    PRESETS.into_iter().find(|preset| preset.name() == name.value).unwrap_or_else(|| {
        let message = format!("{} is not one of the protocols", quote(&name.value));
        let help = suggest(&name.value, "protocols", PRESETS.into_iter().map(Preset::name));
        errors.push(ManifestError::new(Code::NotAChoice, name.span.clone(), message).help(help));
        &CORRECTED
    })
}

#[cfg(test)]
mod tests {
    use super::super::metrics::BUILT_IN;
    use super::super::settings::{Kind, guest};
    use super::*;

    #[test]
    fn presets_name_settings_and_metrics_that_exist_and_values_that_they_permit() {
        for preset in PRESETS {
            assert_eq!(super::preset(preset.protocol).name(), preset.name());
            for setting in preset.settings {
                let kind = guest(setting.name).unwrap_or_else(|| panic!("{}", setting.name)).kind;
                match (kind, setting.value) {
                    (Kind::Word(words), DefaultLevel::Text(word)) => assert!(words.contains(&word), "{word}"),
                    (Kind::Int(least, most), DefaultLevel::Int(value)) => assert!((least..=most).contains(&value)),
                    (Kind::Bool, DefaultLevel::Bool(_)) => {}
                    (kind, value) => panic!("{}: {value:?} for {kind:?}", setting.name),
                }
            }
            for metric in preset.metrics {
                assert!(BUILT_IN.iter().any(|built_in| built_in.name == metric.name), "{}", metric.name);
            }
        }
    }

    #[test]
    fn a_default_may_be_of_one_engine_only() {
        assert!(AS_CODED.of_engine("firecracker").contains_key("console"));
        assert!(!AS_CODED.of_engine("qemu-microvm").contains_key("console"));
    }
}
