//! Kernel parameters, requirements and unsupported combinations of an engine's machine, from the settings of a cell.

use anyhow::Context as _;
use microbench_formats::code::Code;

use super::description::Engine;
use super::guest_settings::{GuestSettings, Reboot, StopAt};
use crate::engine::template::{self, Data};

// Names of settings.
const NETWORK: &str = "network";
const CONSOLE: &str = "console";
const TRACE: &str = "trace";
const HOLD: &str = "hold_s";
const STOP_AT: &str = "stop_at";
/// Value of `reboot` in a description for a guest that powers its machine off.
const POWER_OFF: &str = Reboot::PowerOff.name();

/// A cell's settings by name.
pub use microbench_formats::level_map::LevelMap as Settings;

/// True for a guest with a network. A guest without its own kernel always has one.
#[must_use]
pub fn networked(engine: &Engine, guest: &GuestSettings) -> bool {
    guest.network || !engine.guest.applies(NETWORK)
}

/// True for a VM whose boot is traced. A guest without its own kernel has no boot to trace.
#[must_use]
pub fn traced(engine: &Engine, guest: &GuestSettings) -> bool {
    guest.trace && engine.guest.applies(TRACE)
}

/// True for a VM whose reset pulses are traced: if its boot is traced, or if they end it.
#[must_use]
pub fn reset_pulses_traced(engine: &Engine, guest: &GuestSettings) -> bool {
    traced(engine, guest) || ends_at_reset_pulses(engine, guest)
}

/// True for a VM that the runner ends at its tenth reset pulse.
#[must_use]
pub fn ends_at_reset_pulses(engine: &Engine, guest: &GuestSettings) -> bool {
    guest.stop_at == StopAt::ResetPulses && engine.guest.applies(STOP_AT)
}

/// Template data of settings only.
fn data(settings: &Settings) -> anyhow::Result<Data> {
    Data::new(settings).context("the settings cannot be written as JSON")
}

/// Renders a template of `engine` with settings only.
fn render(engine: &Engine, place: &str, text: &str, settings: &Data) -> anyhow::Result<String> {
    template::render(text, settings)
        .with_context(|| Code::BadDescription.with_message(format!("engine {}: cannot render {place}", engine.name)))
}

/// Renders an optional template; `None` for an empty result.
fn optional(engine: &Engine, place: &str, text: Option<&str>, settings: &Data) -> anyhow::Result<Option<String>> {
    let rendered = text.map(|text| render(engine, place, text, settings)).transpose()?;
    Ok(rendered.filter(|text| !text.is_empty()))
}

/// The machine's part of the kernel command line: console, reboot method, own parameters, and marks for tracing.
///
/// # Errors
/// A template cannot be rendered, for instance because it has an unknown name.
pub fn kernel_parameters(engine: &Engine, guest: &GuestSettings, settings: &Settings) -> anyhow::Result<String> {
    let (kernel, data) = (&engine.kernel, data(settings)?);
    let reboot = match guest.reboot {
        Reboot::Engine => optional(engine, "kernel.reboot", kernel.reboot.as_deref(), &data)?,
        other => Some(other.name().to_owned()),
    };
    let reboot = reboot.map(|word| match word.as_str() {
        POWER_OFF => format!("{}={POWER_OFF}", microbench_agent::END_PARAMETER),
        word => format!("reboot={word}"),
    });
    let console = match guest.console {
        true => render(engine, "kernel.console", &kernel.console, &data)?,
        false => render(engine, "kernel.no_console", &kernel.no_console, &data)?,
    };
    let own = render(engine, "kernel.boot_args", &kernel.boot_args, &data)?;
    let marks = traced(engine, guest).then(|| format!("{}=on", microbench_agent::MARKS_PARAMETER));
    let parts = [Some(console), reboot, Some(own), marks];
    Ok(parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "))
}

/// True if [`refusal`] or [`needed_option`] may depend on the setting, because they read it or a template contains its
/// name.
#[must_use]
pub fn depends_on(engine: &Engine, setting: &str) -> bool {
    let templates = engine.refuses.iter().map(|refusal| &refusal.when).chain(&engine.kernel.needs);
    [NETWORK, CONSOLE, HOLD, STOP_AT].contains(&setting)
        || templates.into_iter().any(|template| template.contains(setting))
}

/// The option that the guest's kernel must be configured with, if any.
///
/// # Errors
/// A template cannot be rendered.
pub fn needed_option(engine: &Engine, settings: &Settings) -> anyhow::Result<Option<String>> {
    optional(engine, "kernel.needs", engine.kernel.needs.as_deref(), &data(settings)?)
}

/// The reason why the machine does not support these settings, as a clause; `None` if it supports them.
///
/// # Errors
/// A template cannot be rendered.
pub fn refusal(engine: &Engine, guest: &GuestSettings, settings: &Settings) -> anyhow::Result<Option<String>> {
    if !networked(engine, guest) {
        if !guest.console {
            return Ok(Some("a guest without a network needs a console to be observed".to_owned()));
        }
        if guest.steady.is_some() {
            return Ok(Some("a guest without a network ends by itself, so `hold_s` cannot hold it".to_owned()));
        }
        if guest.stop_at != StopAt::Exit {
            return Ok(Some("a guest without a network gets no stop request, to which `stop_at` applies".to_owned()));
        }
    }
    let data = data(settings)?;
    for refusal in &engine.refuses {
        if !render(engine, "refuses.when", &refusal.when, &data)?.is_empty() {
            return Ok(Some(refusal.reason.clone()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use microbench_formats::axis::Level;
    use microbench_formats::cell::Cell;

    use super::*;
    use crate::engine::description::load;

    /// The defaults of the engine, overridden by `given`.
    fn settings(engine: &Engine, given: &[(&str, Level)]) -> Settings {
        let own = engine.settings.iter().map(|(name, setting)| (name.clone(), setting.default.clone()));
        let given = given.iter().map(|(name, level)| ((*name).to_owned(), level.clone()));
        own.chain(given).collect()
    }

    fn guest(settings: &Settings) -> GuestSettings {
        let mut cell: Cell = serde_json::from_value(serde_json::json!({
            "id": "a/1", "variant": "a", "label": "a", "engine": "e", "concurrency": 1, "levels": {}, "trials": 1,
            "settings": { "kernel": "k", "rootfs": "r" },
        }))
        .unwrap();
        cell.settings.extend(settings.iter().map(|(name, level)| (name.clone(), level.clone())));
        GuestSettings::from_cell(&cell).unwrap()
    }

    fn parameters(engine: &str, given: &[(&str, Level)]) -> String {
        let engine = &load(&[]).unwrap()[engine];
        let settings = settings(engine, given);
        kernel_parameters(engine, &guest(&settings), &settings).unwrap()
    }

    fn text(word: &str) -> Level {
        Level::Text(word.into())
    }

    #[test]
    fn settings_of_the_cell_override_kernel_parameters_of_the_machine() {
        let skipped = "i8042.noaux i8042.nomux i8042.dumbkbd";
        assert_eq!(parameters("firecracker", &[]), format!("console=ttyS0 reboot=k pci=off {skipped}"));
        let none = [("reboot", text("t")), ("console", Level::Bool(false))];
        assert_eq!(parameters("firecracker", &none), format!("8250.nr_uarts=0 reboot=t pci=off {skipped}"));
        assert_eq!(
            parameters("firecracker", &[("keyboard_probe", Level::Bool(true))]),
            "console=ttyS0 reboot=k pci=off"
        );
        assert_eq!(parameters("qemu-microvm", &[]), "console=ttyS0 reboot=t");
        assert_eq!(parameters("qemu-microvm", &[("acpi", Level::Bool(true))]), "console=ttyS0 reboot=a");
        assert_eq!(parameters("qemu-microvm", &[("reboot", text("k")), ("console", Level::Bool(false))]), "reboot=k");
        assert_eq!(parameters("qemu-pc", &[("reboot", text(POWER_OFF))]), "console=ttyS0 microbench.end=power-off");
    }

    #[test]
    fn unsupported_settings_are_refused_with_a_reason() {
        let engines = load(&[]).unwrap();
        let refused = |engine: &str, given: &[(&str, Level)]| {
            let settings = settings(&engines[engine], given);
            refusal(&engines[engine], &guest(&settings), &settings).unwrap()
        };
        let off = Level::Bool(false);
        assert_eq!(refused("qemu-microvm", &[("network", off.clone())]), None);
        let blind = refused("qemu-microvm", &[("network", off.clone()), ("console", off.clone())]);
        assert!(blind.is_some_and(|reason| reason.contains("console")));
        let bus = refused("qemu-microvm", &[("transport", text("pci"))]);
        assert!(bus.is_some_and(|reason| reason.contains("acpi = true")));
        assert_eq!(refused("qemu-microvm", &[("transport", text("pci")), ("acpi", Level::Bool(true))]), None);
        let on = Level::Bool(true);
        let held = refused("qemu-microvm", &[("network", off.clone()), ("hold_s", Level::Int(2))]);
        assert!(held.is_some_and(|reason| reason.contains("hold_s")));
        let pulses = refused("qemu-microvm", &[("network", off.clone()), ("stop_at", text("reset-pulses"))]);
        assert!(pulses.is_some_and(|reason| reason.contains("stop_at")));
        // These settings do not apply to containers.
        assert_eq!(
            refused("crun", &[("network", off.clone()), ("console", off.clone()), ("hold_s", Level::Int(2))]),
            None
        );
        for other in ["api", "network"] {
            let restored =
                refused("firecracker", &[("network", on.clone()), ("restore", on.clone()), (other, off.clone())]);
            assert!(restored.is_some_and(|reason| reason.contains("restore")), "{other}");
        }
        assert_eq!(refused("firecracker", &[("network", on.clone()), ("restore", on)]), None);
    }

    #[test]
    fn other_settings_do_not_change_refusal_and_needed_option() {
        let mut dependent = 0;
        for engine in load(&[]).unwrap().values() {
            for (name, setting) in &engine.settings {
                if depends_on(engine, name) {
                    dependent += 1;
                    continue;
                }
                let found = |level: &Level| {
                    let settings = settings(engine, &[(name, level.clone())]);
                    (refusal(engine, &guest(&settings), &settings).unwrap(), needed_option(engine, &settings).unwrap())
                };
                let other = match &setting.default {
                    Level::Bool(value) => Level::Bool(!value),
                    _ => text("other"),
                };
                let others = setting.choices.iter().chain([&other]);
                assert!(others.clone().all(|level| found(level) == found(&setting.default)), "{} {name}", engine.name);
            }
        }
        assert!(dependent > 0);
    }

    #[test]
    fn devices_on_pci_need_a_kernel_with_virtio_pci() {
        let engines = load(&[]).unwrap();
        let needed = |engine: &str, given: &[(&str, Level)]| {
            needed_option(&engines[engine], &settings(&engines[engine], given)).unwrap()
        };
        assert_eq!(needed("qemu-pc", &[]).as_deref(), Some("CONFIG_VIRTIO_PCI"));
        assert_eq!(needed("qemu-microvm", &[]), None);
        assert_eq!(needed("qemu-microvm", &[("transport", text("pci"))]).as_deref(), Some("CONFIG_VIRTIO_PCI"));
    }
}
