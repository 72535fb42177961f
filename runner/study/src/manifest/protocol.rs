//! Presets for the protocol of the 2019 paper: as its text states it, as its tool implemented it, and a corrected form.
//!
//! A preset is data: defaults of guest settings and definitions of metrics, each with a reason. The manifest overrides
//! them.

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

/// Defaults of a form of the protocol.
#[derive(Debug)]
pub struct Preset {
    pub protocol: Protocol,
    /// One phrase.
    pub doc: &'static str,
    /// Defaults of guest settings that differ from the built-in ones, or that the paper states.
    pub settings: &'static [PresetSetting],
    /// Built-in metrics with another definition.
    pub metrics: &'static [PresetMetric],
}

/// A default of a guest setting.
#[derive(Debug)]
pub struct PresetSetting {
    pub name: &'static str,
    pub value: DefaultLevel,
    /// The engine whose guests it applies to; `None` for all.
    pub engine: Option<&'static str>,
    /// The reason, one sentence.
    pub doc: &'static str,
}

/// A definition of a built-in metric.
#[derive(Debug)]
pub struct PresetMetric {
    pub name: &'static str,
    pub(super) source: Source,
    /// The reason, one sentence.
    pub doc: &'static str,
}

/// The built-in defaults of all settings and metrics.
pub const CORRECTED: Preset = Preset {
    protocol: Protocol::Corrected,
    doc: "corrected definitions of what the 2019 paper measures",
    settings: &[],
    metrics: &[],
};

/// The protocol as the paper's text states it.
pub const AS_WRITTEN: Preset = Preset {
    protocol: Protocol::AsWritten,
    doc: "as the text of the 2019 paper states it",
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
        doc: "The text uses the time stamp of the last kernel message as the end of the boot.",
    }],
};

/// The protocol as the paper's tool implemented it.
pub const AS_CODED: Preset = Preset {
    protocol: Protocol::AsCoded,
    doc: "as the tool of the 2019 paper implemented it",
    settings: &[
        PresetSetting {
            name: "vcpus",
            value: DefaultLevel::Int(2),
            engine: None,
            doc: "The tool's default was two vCPUs, although the text states one.",
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
            doc: "Without a neighbour entry the host repeats its ARP request after one second, which quantises the \
             start-up.",
        },
        PresetSetting {
            name: "reboot",
            value: DefaultLevel::Text("k"),
            engine: None,
            doc: "The tool restarted guests by the keyboard controller, which QEMU's microvm machine does not have.",
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
            doc: "The tool used the time stamp of `random: fast init done`, which Linux 5.18 and later do not print.",
        },
        PresetMetric {
            name: "hashing_time",
            source: Source::Work(WorkloadKind::Copy, 1 << 20, 100),
            doc: "The tool did not hash: it allocated and copied 1 MiB 100 times.",
        },
    ],
};

/// Every preset.
pub const PRESETS: [&Preset; 3] = [&CORRECTED, &AS_WRITTEN, &AS_CODED];

#[must_use]
pub fn preset(protocol: Protocol) -> &'static Preset {
    PRESETS.into_iter().find(|preset| preset.protocol == protocol).unwrap_or(&CORRECTED)
}

impl Preset {
    /// The value of `protocol` in a manifest.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.protocol.into()
    }

    /// The defaults for guests of `engine`, by setting.
    #[must_use]
    pub fn settings_for(&self, engine: &str) -> BTreeMap<String, Level> {
        let applies = |setting: &&PresetSetting| setting.engine.is_none_or(|only| only == engine);
        self.settings.iter().filter(applies).map(|setting| (setting.name.into(), setting.value.into())).collect()
    }

    /// Pairs of a change (`vcpus = 2`) and its reason.
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

/// The preset of the manifest. Reports an unknown name.
pub(super) fn check(head: &raw::StudySection, errors: &mut Diagnostics) -> &'static Preset {
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
    fn presets_use_existing_settings_and_metrics_and_permitted_values() {
        for preset in PRESETS {
            assert_eq!(super::preset(preset.protocol).name(), preset.name());
            for setting in preset.settings {
                let kind = guest(setting.name).unwrap_or_else(|| panic!("{}", setting.name)).kind;
                match (kind, setting.value) {
                    (Kind::Choice(names), DefaultLevel::Text(name)) => assert!(names.contains(&name), "{name}"),
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
    fn a_default_can_apply_to_one_engine_only() {
        assert!(AS_CODED.settings_for("firecracker").contains_key("console"));
        assert!(!AS_CODED.settings_for("qemu-microvm").contains_key("console"));
    }
}
