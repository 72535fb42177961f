//! Variants with their engines and effective settings.
//!
//! The order of precedence, from weak to strong: built-in default, protocol, `[guest]`, engine default,
//! `[variants.KEY]`. [`matrix`](super::matrix) applies the levels of axes, which override all of these.

use std::collections::{BTreeMap, HashMap};

use microbench_formats::axis::Level;
use microbench_formats::code::Code;

use super::diagnostic::{Diagnostics, ManifestError, line_of};
use super::nearest::{nearest, quote, suggest};
use super::protocol::Preset;
use super::raw;
use super::read::At;
use super::settings::{Catalog, EngineSpec, GUEST, GuestSetting, SettingSpec, guest, guest_names};
use super::study::{Origin, Variant};

/// Settings with their origins.
type Effective = BTreeMap<String, (Level, Origin)>;

/// The variants of the manifest, without those that have no valid engine.
pub(super) fn check(
    manifest: &raw::Manifest,
    preset: &Preset,
    catalog: &Catalog,
    source: &str,
    errors: &mut Diagnostics,
) -> Vec<Variant> {
    let common = common_settings(manifest, catalog, source, errors);
    let mut variants: Vec<Variant> = Vec::new();
    let mut labels: HashMap<String, &At<String>> = HashMap::new();
    for raw in &manifest.variants {
        let label = raw.label.as_ref().unwrap_or(&raw.key);
        if label.value.trim().is_empty() {
            errors.push(ManifestError::new(Code::Empty, label.span.clone(), "`label` is empty"));
        } else if let Some(first) = labels.insert(label.value.clone(), label) {
            let message = format!("two variants have the label {}", quote(&label.value));
            errors.push(
                ManifestError::new(Code::SameLabel, label.span.clone(), message)
                    .related(first.span.clone(), "the first")
                    .help("give each variant a different `label`: figures use it as their only name"),
            );
        }
        let Some(engine) = &raw.engine else {
            without_engine(raw, catalog, errors);
            continue;
        };
        let Some(spec) = catalog.engines.get(&engine.value) else {
            let message = format!("there is no engine {}", quote(&engine.value));
            let help = suggest(&engine.value, "engines", catalog.engines.keys().map(String::as_str));
            errors.push(ManifestError::new(Code::UnknownEngine, engine.span.clone(), message).help(help));
            continue;
        };
        let default = |setting: &GuestSetting| Some((setting.name.into(), (setting.default?.into(), Origin::BuiltIn)));
        let mut effective: Effective = GUEST.iter().filter_map(default).collect();
        effective.extend(preset.settings_for(&engine.value).into_iter().map(|(name, value)| {
            let doc = preset.settings.iter().find(|setting| setting.name == name).map_or("", |setting| setting.doc);
            (name, (value, Origin::Protocol(doc)))
        }));
        effective.extend(common.clone());
        let own_default =
            |(name, spec): (&String, &SettingSpec)| (name.clone(), (spec.default.clone(), Origin::Engine));
        effective.extend(spec.settings.iter().map(own_default));
        effective.extend(own_settings(raw, manifest, &engine.value, spec, catalog, source, errors));
        let origins = effective.iter().map(|(name, (_, origin))| (name.clone(), origin.clone())).collect();
        let settings = effective.into_iter().map(|(name, (value, _))| (name, value)).collect();
        require(raw, manifest, &settings, catalog, errors);
        variants.push(Variant {
            key: raw.key.value.clone(),
            label: label.value.clone(),
            engine: engine.value.clone(),
            settings,
            origins,
        });
    }
    variants
}

/// Reports unknown keys of a variant without an engine, and the missing engine unless one of the keys is a typo of
/// `engine`.
fn without_engine(raw: &raw::Variant, catalog: &Catalog, errors: &mut Diagnostics) {
    let Some(span) = &raw.without_engine else { return };
    let place = format!("[variants.{}]", raw.key.value.escape_debug());
    let mut typo = false;
    for (name, _) in &raw.settings {
        if guest(&name.value).is_none() && owners(&name.value, catalog).is_empty() {
            typo |= nearest(&name.value, ["engine"]).is_some();
            let message = format!("unknown key {} in {place}", quote(&name.value));
            let valid = ["engine", "label"].into_iter().chain(guest_names());
            errors.push(ManifestError::new(Code::UnknownKey, name.span.clone(), message).help(suggest(
                &name.value,
                "keys of every variant",
                valid,
            )));
        }
    }
    if !typo {
        errors.push(
            ManifestError::new(Code::Missing, span.clone(), format!("{place} has no `engine`"))
                .help("add the VMM, for instance `engine = \"firecracker\"`"),
        );
    }
}

/// The settings of `[guest]`, and the probe that metrics set.
fn common_settings(manifest: &raw::Manifest, catalog: &Catalog, source: &str, errors: &mut Diagnostics) -> Effective {
    let mut settings = Effective::new();
    let at = |at: usize, table: String| Origin::Manifest { line: line_of(source, at), table };
    for (name, level) in &manifest.guest {
        match guest(&name.value) {
            Some(setting) => {
                let origin = at(name.span.start, "[guest]".into());
                settings
                    .extend(setting.check(level, catalog, errors).map(|value| (name.value.clone(), (value, origin))));
            }
            None => errors.push_with(|| not_of_guest(name, catalog)),
        }
    }
    let stated = manifest.guest.iter().find(|(name, _)| name.value == "probe");
    let mut first: Option<&At<Level>> = stated.map(|(_, level)| level);
    for (metric, probe) in manifest.metrics.iter().filter_map(|metric| Some((&metric.name, metric.probe.as_ref()?))) {
        let Some(value) = guest("probe").and_then(|setting| setting.check(probe, catalog, errors)) else { continue };
        let table = format!("[metrics.{}]", metric.value.escape_debug());
        settings.insert("probe".into(), (value, at(probe.span.start, table)));
        match first {
            Some(first) if first.value != probe.value => errors.push(
                ManifestError::new(Code::ProbeConflict, probe.span.clone(), "the probe is set to different values")
                    .related(first.span.clone(), "first set here")
                    .help("a VM has one probe; to compare the two, make it an axis: `probe = [\"exact\", \"paper\"]`"),
            ),
            Some(_) => {}
            None => first = Some(probe),
        }
    }
    settings
}

fn not_of_guest(name: &At<String>, catalog: &Catalog) -> ManifestError {
    let owners = owners(&name.value, catalog);
    if owners.is_empty() {
        let message = format!("unknown key {} in [guest]", quote(&name.value));
        return ManifestError::new(Code::UnknownKey, name.span.clone(), message).help(suggest(
            &name.value,
            "guest settings",
            guest_names(),
        ));
    }
    let message = format!("{} is a setting of {}, not of every guest", quote(&name.value), owners.join(" and "));
    ManifestError::new(Code::NotOfEngine, name.span.clone(), message).help("set it in the variants of that engine")
}

/// The engines that have the setting, as phrases for messages.
fn owners(name: &str, catalog: &Catalog) -> Vec<String> {
    let has = |(_, spec): &(&String, &EngineSpec)| spec.settings.contains_key(name);
    catalog.engines.iter().filter(has).map(|(engine, _)| format!("engine {}", quote(engine))).collect()
}

/// The settings of the variant's own table.
fn own_settings(
    raw: &raw::Variant,
    manifest: &raw::Manifest,
    engine: &str,
    spec: &EngineSpec,
    catalog: &Catalog,
    source: &str,
    errors: &mut Diagnostics,
) -> Effective {
    let mut settings = Effective::new();
    for (name, level) in &raw.settings {
        let checked = match (guest(&name.value), spec.settings.get(&name.value)) {
            (Some(setting), _) => setting.check(level, catalog, errors),
            (None, Some(setting)) => setting.check(&name.value, level, &manifest.folder, errors),
            (None, None) => {
                errors.push_with(|| not_of_variant(name, &raw.key.value, engine, spec, catalog));
                None
            }
        };
        let table = format!("[variants.{}]", raw.key.value.escape_debug());
        let origin = Origin::Manifest { line: line_of(source, name.span.start), table };
        settings.extend(checked.map(|value| (name.value.clone(), (value, origin))));
    }
    settings
}

fn not_of_variant(
    name: &At<String>,
    variant: &str,
    engine: &str,
    spec: &EngineSpec,
    catalog: &Catalog,
) -> ManifestError {
    let owners = owners(&name.value, catalog);
    let valid = ["label", "engine"].into_iter().chain(guest_names()).chain(spec.settings.keys().map(String::as_str));
    if owners.is_empty() {
        let message = format!("unknown key {} in [variants.{}]", quote(&name.value), variant.escape_debug());
        let kind = format!("keys of a variant of engine {}", quote(engine));
        return ManifestError::new(Code::UnknownKey, name.span.clone(), message).help(suggest(
            &name.value,
            &kind,
            valid,
        ));
    }
    let message = format!(
        "{} is a setting of {}, but variant {} runs {}",
        quote(&name.value),
        owners.join(" and "),
        quote(variant),
        quote(engine)
    );
    ManifestError::new(Code::NotOfEngine, name.span.clone(), message).help(suggest(
        &name.value,
        &format!("settings of {}", quote(engine)),
        spec.settings.keys().map(String::as_str),
    ))
}

/// Reports settings without a default that no table and no axis sets.
fn require(
    raw: &raw::Variant,
    manifest: &raw::Manifest,
    settings: &BTreeMap<String, Level>,
    catalog: &Catalog,
    errors: &mut Diagnostics,
) {
    for setting in GUEST.iter().filter(|setting| !settings.contains_key(setting.name)) {
        // An invalid value or a typo of the name is reported at its own place, not as missing here.
        let named = |name: &At<String>| {
            let unknown = guest(&name.value).is_none() && owners(&name.value, catalog).is_empty();
            name.value == setting.name || unknown && nearest(&name.value, [setting.name]).is_some()
        };
        let tables = manifest.guest.iter().chain(&raw.settings).map(|(name, _)| name);
        if !tables.chain(manifest.matrix.axes.iter().map(|axis| &axis.name)).any(named) {
            let message = format!("variant {} has no `{}`", quote(&raw.key.value), setting.name);
            errors.push(
                ManifestError::new(Code::Missing, raw.key.span.clone(), message)
                    .help(format!("set it in [guest] for every variant, or in this variant. {}", setting.doc)),
            );
        }
    }
}
