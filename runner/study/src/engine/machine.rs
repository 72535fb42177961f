//! What an engine's machine asks of its guest, and what it does not have, by a cell's settings: pure.

use anyhow::Context as _;
use microbench_formats::code::Code;

use super::description::Engine;
use super::guest_settings::{GuestSettings, Reboot};
use crate::engine::template::{self, Data};

/// The setting that gives a guest a network, or none.
const NETWORK: &str = "network";
/// The setting that gives a guest a console, or none.
const CONSOLE: &str = "console";
/// The setting that has a VM's boot traced.
const TRACE: &str = "trace";
/// The setting that holds the guests of a trial until all are there.
const STEADY: &str = "hold_s";
/// What `reboot` of a description says for a guest that powers its machine off.
const POWER_OFF: &str = Reboot::PowerOff.word();

/// A cell's settings by name.
pub use microbench_formats::level_map::LevelMap as Settings;

/// True for a guest that has a network: one without a kernel of its own always has.
#[must_use]
pub fn networked(engine: &Engine, guest: &GuestSettings) -> bool {
    guest.network || !engine.guest.heeds(NETWORK)
}

/// True for a VM whose boot is traced: a guest without a kernel of its own has none.
#[must_use]
pub fn traced(engine: &Engine, guest: &GuestSettings) -> bool {
    guest.trace && engine.guest.heeds(TRACE)
}

/// Settings alone, as templates are rendered over them.
fn data(settings: &Settings) -> anyhow::Result<Data> {
    Data::of(settings).context("settings are no JSON")
}

/// Renders a template of `engine` over settings alone.
fn render(engine: &Engine, place: &str, text: &str, settings: &Data) -> anyhow::Result<String> {
    template::render(text, settings)
        .with_context(|| Code::BadDescription.says(format!("engine {}: {place} cannot be rendered", engine.name)))
}

/// Renders a template that may be absent; `None` also where it renders to nothing.
fn optional(engine: &Engine, place: &str, text: Option<&str>, settings: &Data) -> anyhow::Result<Option<String>> {
    let rendered = text.map(|text| render(engine, place, text, settings)).transpose()?;
    Ok(rendered.filter(|text| !text.is_empty()))
}

/// The machine's words on the guest kernel's command line: its console, how it ends, what it needs.
///
/// # Errors
/// A template that names what is no setting.
pub fn words(engine: &Engine, guest: &GuestSettings, settings: &Settings) -> anyhow::Result<String> {
    let (kernel, data) = (&engine.kernel, data(settings)?);
    let reboot = match guest.reboot {
        Reboot::Engine => optional(engine, "kernel.reboot", kernel.reboot.as_deref(), &data)?,
        other => Some(other.word().to_owned()),
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
    let words = [Some(console), reboot, Some(own), marks];
    Ok(words.into_iter().flatten().filter(|words| !words.is_empty()).collect::<Vec<_>>().join(" "))
}

/// True when [`refusal`] or [`needs`] may depend on this setting: it is read, or a template has its name.
#[must_use]
pub fn asks(engine: &Engine, setting: &str) -> bool {
    let templates = engine.refuses.iter().map(|refusal| &refusal.when).chain(&engine.kernel.needs);
    [NETWORK, CONSOLE, STEADY].contains(&setting) || templates.into_iter().any(|template| template.contains(setting))
}

/// The option that the guest's kernel must be configured with; `None` for none.
///
/// # Errors
/// As [`words`].
pub fn needs(engine: &Engine, settings: &Settings) -> anyhow::Result<Option<String>> {
    optional(engine, "kernel.needs", engine.kernel.needs.as_deref(), &data(settings)?)
}

/// Why no machine has these settings, as a clause; `None` when there is one.
///
/// # Errors
/// As [`words`].
pub fn refusal(engine: &Engine, guest: &GuestSettings, settings: &Settings) -> anyhow::Result<Option<String>> {
    if !networked(engine, guest) {
        if !guest.console {
            return Ok(Some("a guest without a network is seen on its console alone, and it has none".to_owned()));
        }
        if guest.steady.is_some() {
            return Ok(Some("a guest without a network ends by itself, so that `hold_s` cannot hold it".to_owned()));
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

    /// The engine's own defaults, with these.
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
        GuestSettings::of(&cell).unwrap()
    }

    fn said(engine: &str, given: &[(&str, Level)]) -> String {
        let engine = &load(&[]).unwrap()[engine];
        let settings = settings(engine, given);
        words(engine, &guest(&settings), &settings).unwrap()
    }

    fn text(word: &str) -> Level {
        Level::Text(word.into())
    }

    #[test]
    fn the_kernels_words_are_the_machines_own_unless_the_cell_says_otherwise() {
        let skipped = "i8042.noaux i8042.nomux i8042.dumbkbd";
        assert_eq!(said("firecracker", &[]), format!("console=ttyS0 reboot=k pci=off {skipped}"));
        let none = [("reboot", text("t")), ("console", Level::Bool(false))];
        assert_eq!(said("firecracker", &none), format!("8250.nr_uarts=0 reboot=t pci=off {skipped}"));
        assert_eq!(said("firecracker", &[("keyboard_probe", Level::Bool(true))]), "console=ttyS0 reboot=k pci=off");
        assert_eq!(said("qemu-microvm", &[]), "console=ttyS0 reboot=t");
        assert_eq!(said("qemu-microvm", &[("acpi", Level::Bool(true))]), "console=ttyS0 reboot=a");
        assert_eq!(said("qemu-microvm", &[("reboot", text("k")), ("console", Level::Bool(false))]), "reboot=k");
        assert_eq!(said("qemu-pc", &[("reboot", text(POWER_OFF))]), "console=ttyS0 microbench.end=power-off");
    }

    #[test]
    fn what_no_machine_has_is_refused_with_a_reason() {
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
        // Not a setting of theirs.
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
    fn a_setting_that_is_not_asked_for_makes_no_difference() {
        let mut asked = 0;
        for engine in load(&[]).unwrap().values() {
            for (name, setting) in &engine.settings {
                if asks(engine, name) {
                    asked += 1;
                    continue;
                }
                let found = |level: &Level| {
                    let settings = settings(engine, &[(name, level.clone())]);
                    (refusal(engine, &guest(&settings), &settings).unwrap(), needs(engine, &settings).unwrap())
                };
                let other = match &setting.default {
                    Level::Bool(value) => Level::Bool(!value),
                    _ => text("other"),
                };
                let others = setting.choices.iter().chain([&other]);
                assert!(others.clone().all(|level| found(level) == found(&setting.default)), "{} {name}", engine.name);
            }
        }
        assert!(asked > 0);
    }

    #[test]
    fn devices_on_a_bus_need_a_kernel_that_knows_it() {
        let engines = load(&[]).unwrap();
        let needed = |engine: &str, given: &[(&str, Level)]| {
            needs(&engines[engine], &settings(&engines[engine], given)).unwrap()
        };
        assert_eq!(needed("qemu-pc", &[]).as_deref(), Some("CONFIG_VIRTIO_PCI"));
        assert_eq!(needed("qemu-microvm", &[]), None);
        assert_eq!(needed("qemu-microvm", &[("transport", text("pci"))]).as_deref(), Some("CONFIG_VIRTIO_PCI"));
    }
}
