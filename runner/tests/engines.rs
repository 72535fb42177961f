//! Descriptions of the built-in engines: the program arguments, files and API calls that start a VM.

use std::collections::BTreeMap;
use std::fmt::Write;

use microbench_formats::axis::Level;
use microbench_formats::level_map::LevelMap;
use microbench_study::engine::context::{Context, Network, SettingFile};
use microbench_study::engine::description::{self, Engine, GuestKind};
use microbench_study::engine::launch::{self, Launch, LaunchCall};

fn engine(name: &str) -> Engine {
    description::load(&[]).unwrap().remove(name).unwrap_or_else(|| panic!("no engine {name}"))
}

fn setting_file(path: &str, text: &str) -> Option<SettingFile> {
    Some(SettingFile { path: path.into(), text: text.into() })
}

/// Context of one VM with the engine's defaults, overridden by `settings`.
fn context(engine: &Engine, settings: &[(&str, Level)]) -> Context {
    let mut all: LevelMap =
        engine.settings.iter().map(|(name, setting)| (name.clone(), setting.default.clone())).collect();
    let guest = [
        ("vcpus", Level::Int(1)),
        ("memory_mib", Level::Int(128)),
        ("console", Level::Bool(true)),
        ("network", Level::Bool(true)),
    ];
    all.extend(guest.map(|(name, level)| (name.to_owned(), level)));
    all.extend(settings.iter().map(|(name, level)| ((*name).to_owned(), level.clone())));
    let networked = all["network"] == Level::Bool(true) || engine.guest.shares_kernel();
    Context {
        program: "/cache/program".into(),
        program_name: "program".into(),
        jail_program: Some("/cache/jailer".into()),
        user: 1_879_048_194,
        id: "t0001-a0-vm002".into(),
        folder: "/run/scratch/t0001-a0-vm002".into(),
        kernel: Some("/cache/vmlinux".into()),
        boot_args: Some("console=ttyS0 ip=10.0.2.2::10.0.2.1:255.255.255.0::eth0:off".into()),
        disk: "/cache/image".into(),
        disk_read_only: true,
        root: Some("/run/scratch/t0001-a0-vm002/root".into()),
        agent: "/sbin/init".into(),
        nonce: "0123456789abcdef".into(),
        // As in the runner, a guest without a network has no tap.
        network: networked.then(|| Network {
            tap: "mb2".into(),
            mac: "06:00:0a:00:02:02".into(),
            guest_ip: "10.0.2.2".into(),
            host_ip: "10.0.2.1".into(),
        }),
        settings: all,
        files: BTreeMap::from([("cpu_config".into(), None)]),
    }
}

/// Text of a launch for snapshots.
fn format_launch(launch: &Launch) -> String {
    let call = |text: &mut String, call: &LaunchCall| {
        let boots = if call.boots { "   <- boots" } else { "" };
        write!(text, "\n{} {} {}{boots}", call.method, call.path, call.body).unwrap();
    };
    let mut text = launch.argv.join("\n");
    for (name, content) in &launch.files {
        write!(text, "\n\nfile {name}:\n{content}").unwrap();
    }
    if let Some(api) = &launch.api {
        write!(text, "\n\nover {}:", api.socket).unwrap();
        api.calls.iter().for_each(|one| call(&mut text, one));
    }
    if let Some(snapshot) = &launch.snapshot {
        for (head, calls) in [("saved", &snapshot.take), ("restored", &snapshot.load)] {
            write!(text, "\n\n{head} by, with the files {}:", snapshot.files.join(" and ")).unwrap();
            calls.iter().for_each(|one| call(&mut text, one));
        }
    }
    text
}

#[test]
fn firecracker_is_configured_over_its_api() {
    let engine = engine("firecracker");
    insta::assert_snapshot!("firecracker", format_launch(&launch::render(&engine, &context(&engine, &[])).unwrap()));
}

#[test]
fn firecracker_can_be_configured_by_a_file() {
    let engine = engine("firecracker");
    let by_file = [("api", Level::Bool(false))];
    let launch = launch::render(&engine, &context(&engine, &by_file)).unwrap();
    assert_eq!(launch.api, None);
    insta::assert_snapshot!("firecracker-file", format_launch(&launch));

    let template = include_str!("../../experiments/templates/no-avx512.json");
    let all = [by_file[0].clone(), ("jailer", Level::Bool(true)), ("cpu_template", Level::Text("T2".into()))];
    let mut context = Context { disk_read_only: false, ..context(&engine, &all) };
    context.files.insert("cpu_config".into(), setting_file("/study/no-avx512.json", template));
    let launch = launch::render(&engine, &context).unwrap();
    insta::assert_snapshot!("firecracker-file-jailed", format_launch(&launch));
    let [(_, config), (name, cpu)] = &launch.files[..] else { panic!("two files") };
    assert_eq!((name.as_str(), cpu.as_str()), ("cpu.json", template));
    let config: serde_json::Value = serde_json::from_str(config).unwrap();
    assert_eq!(config["cpu-config"], "/cpu.json");
    assert_eq!(config["drives"][0]["is_read_only"], false);
    assert_eq!(config["machine-config"]["cpu_template"], "T2");
}

#[test]
fn config_file_and_api_calls_of_firecracker_agree() {
    let engine = engine("firecracker");
    let rendered = |api| launch::render(&engine, &context(&engine, &[("api", Level::Bool(api))])).unwrap();
    let config: serde_json::Value = serde_json::from_str(&rendered(false).files[0].1).unwrap();
    for call in rendered(true).api.unwrap().calls {
        let body: serde_json::Value = serde_json::from_str(&call.body).unwrap();
        match call.path.as_str() {
            "/actions" => assert!(call.boots),
            "/drives/root" => assert_eq!(config["drives"], serde_json::json!([body])),
            "/network-interfaces/eth0" => assert_eq!(config["network-interfaces"], serde_json::json!([body])),
            path => assert_eq!(config[path.trim_start_matches('/')], body, "{path}"),
        }
    }
}

#[test]
fn firecracker_is_saved_and_restored_over_its_api() {
    let engine = engine("firecracker");
    let restore = [("restore", Level::Bool(true)), ("jailer", Level::Bool(true)), ("api", Level::Bool(false))];
    let rendered = |settings: &[(&str, Level)]| launch::render(&engine, &context(&engine, settings));
    assert_eq!(rendered(&[]).unwrap().snapshot, None);
    insta::assert_snapshot!("firecracker-restored", format_launch(&rendered(&restore[..1]).unwrap()));
    let jailed = rendered(&restore[..2]).unwrap().snapshot.unwrap();
    assert!(jailed.load[0].body.contains("\"/snapshot.state\""), "{jailed:?}");
    assert!(rendered(&restore).unwrap_err().to_string().contains("enable the API"));
}

#[test]
fn cpu_template_and_writable_disk_are_passed_to_firecracker() {
    let engine = engine("firecracker");
    let template = [("cpu_template", Level::Text("T2".into())), ("vcpus", Level::Int(2))];
    let context = Context { disk_read_only: false, ..context(&engine, &template) };
    let launch = launch::render(&engine, &context).unwrap();
    let body = |path: &str| -> serde_json::Value {
        let call = launch.api.iter().flat_map(|api| &api.calls).find(|call| call.path == path).unwrap();
        serde_json::from_str(&call.body).unwrap()
    };
    assert_eq!(body("/machine-config")["cpu_template"], "T2");
    assert_eq!(body("/machine-config")["vcpu_count"], 2);
    assert_eq!(body("/drives/root")["is_read_only"], false);
}

#[test]
fn custom_cpu_template_is_an_api_call_before_the_start() {
    let engine = engine("firecracker");
    let template = include_str!("../../experiments/templates/no-avx512.json");
    let paths = |context: &Context| -> Vec<(String, String)> {
        let launch = launch::render(&engine, context).unwrap();
        launch.api.unwrap().calls.into_iter().map(|call| (call.path, call.body)).collect()
    };
    let mut context = context(&engine, &[]);
    assert!(paths(&context).iter().all(|(path, _)| path != "/cpu-config"));
    context.files.insert("cpu_config".into(), setting_file("/study/no-avx512.json", template));
    assert_eq!(paths(&context)[1], ("/cpu-config".into(), template.into()));
    context.files.insert("cpu_config".into(), setting_file("/study/no-avx512.json", "no JSON"));
    assert!(launch::render(&engine, &context).unwrap_err().to_string().contains("/cpu-config is not JSON"));
    context.files.insert("cpu_config".into(), setting_file("/study/a\"b.json", template));
    assert!(launch::render(&engine, &context).unwrap_err().to_string().contains("rename it"));
}

#[test]
fn jailed_firecracker_gets_paths_inside_its_jail() {
    let engine = engine("firecracker");
    let launch = launch::render(&engine, &context(&engine, &[("jailer", Level::Bool(true))])).unwrap();
    insta::assert_snapshot!("firecracker-jailed", format_launch(&launch));
    let root = "/run/scratch/t0001-a0-vm002/program/t0001-a0-vm002/root";
    assert_eq!(launch.root.as_deref(), Some(std::path::Path::new(root)));
    assert_eq!(launch.api.unwrap().socket, format!("{root}/api.sock"));
}

#[test]
fn sandbox_setting_enables_the_sandbox_of_qemu() {
    let engine = engine("qemu-microvm");
    let launch = launch::render(&engine, &context(&engine, &[("sandbox", Level::Bool(true))])).unwrap();
    assert!(launch.argv.iter().any(|word| word.starts_with("on,obsolete=deny,elevateprivileges=deny")));
}

#[test]
fn without_a_console_qemu_has_no_serial_port() {
    let engine = engine("qemu-microvm");
    let launch = launch::render(&engine, &context(&engine, &[("console", Level::Bool(false))])).unwrap();
    let line = launch.argv.join(" ");
    assert!(line.contains("isa-serial=off") && line.contains("-serial none"), "{line}");
}

#[test]
fn qemu_is_configured_on_its_command_line() {
    let engine = engine("qemu-microvm");
    insta::assert_snapshot!("qemu-microvm", format_launch(&launch::render(&engine, &context(&engine, &[])).unwrap()));
}

#[test]
fn cpu_model_and_writable_disk_are_passed_to_qemu() {
    let engine = engine("qemu-microvm");
    let model = [("cpu", Level::Text("qemu64,+tsc-deadline".into()))];
    let context = Context { disk_read_only: false, ..context(&engine, &model) };
    let launch = launch::render(&engine, &context).unwrap();
    let after = |word: &str| {
        let place = launch.argv.iter().position(|argument| argument == word).unwrap();
        launch.argv[place + 1].clone()
    };
    assert_eq!(after("-cpu"), "qemu64,+tsc-deadline");
    assert!(after("-drive").ends_with("readonly=off"), "{}", after("-drive"));
}

/// The argument after `word`; empty if `word` is missing.
fn argument_after(launch: &Launch, word: &str) -> String {
    let place = launch.argv.iter().position(|argument| argument == word);
    place.map(|place| launch.argv[place + 1].clone()).unwrap_or_default()
}

#[test]
fn other_vmms_are_configured_on_their_command_lines() {
    for name in ["qemu-pc", "qemu-q35", "cloud-hypervisor", "crosvm", "kvmtool"] {
        let engine = engine(name);
        insta::assert_snapshot!(name, format_launch(&launch::render(&engine, &context(&engine, &[])).unwrap()));
    }
}

#[test]
fn acpi_and_pci_change_the_microvm_machine() {
    let engine = engine("qemu-microvm");
    let rendered = |settings: &[(&str, Level)]| launch::render(&engine, &context(&engine, settings)).unwrap();
    let acpi = rendered(&[("acpi", Level::Bool(true))]);
    let machine = argument_after(&acpi, "-machine");
    assert!(machine.contains("acpi=on,pcie=off"), "{machine}");
    let bus = rendered(&[("acpi", Level::Bool(true)), ("transport", Level::Text("pci".into()))]);
    assert!(argument_after(&bus, "-machine").contains("acpi=on,pcie=on"), "{}", argument_after(&bus, "-machine"));
    let devices: Vec<&String> = bus.argv.iter().filter(|argument| argument.starts_with("virtio-")).collect();
    assert_eq!(devices, ["virtio-blk-pci,drive=root", "virtio-net-pci,romfile=,netdev=eth0,mac=06:00:0a:00:02:02"]);
}

#[test]
fn guest_without_a_network_has_no_network_device() {
    for name in ["firecracker", "qemu-microvm", "qemu-pc", "qemu-q35", "cloud-hypervisor", "crosvm", "kvmtool"] {
        let engine = engine(name);
        let said =
            format_launch(&launch::render(&engine, &context(&engine, &[("network", Level::Bool(false))])).unwrap());
        assert!(!said.contains("mb2") && !said.contains("06:00:0a"), "{name}: {said}");
        assert!(!said.lines().any(str::is_empty) || name == "firecracker", "{name}: {said}");
    }
    // A description that uses the tap without `{{#if network}}` is an error for a guest without a network.
    let mut engine = engine("qemu-microvm");
    engine.command.argv.push("{{tap}}".into());
    let error = launch::render(&engine, &context(&engine, &[("network", Level::Bool(false))])).unwrap_err();
    assert!(format!("{error:#}").contains("tap"), "{error:#}");
}

#[test]
fn huge_pages_and_cache_modes_are_passed_to_the_vmm() {
    let all = [("huge_pages", Level::Bool(true)), ("cache", Level::Text("writeback".into()))];
    let firecracker = engine("firecracker");
    let with_io = [&all[..], &[("aio", Level::Text("io_uring".into()))]].concat();
    let said = format_launch(&launch::render(&firecracker, &context(&firecracker, &with_io)).unwrap());
    for part in ["\"huge_pages\": \"2M\"", "\"cache_type\": \"Writeback\"", "\"io_engine\": \"Async\""] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let qemu = engine("qemu-microvm");
    let none = [
        ("huge_pages", Level::Bool(true)),
        ("cache", Level::Text("none".into())),
        ("aio", Level::Text("native".into())),
    ];
    let launch = launch::render(&qemu, &context(&qemu, &none)).unwrap();
    assert_eq!(argument_after(&launch, "-object"), "memory-backend-memfd,id=mem,size=128M,hugetlb=on,hugetlbsize=2M");
    assert!(argument_after(&launch, "-machine").ends_with("memory-backend=mem"));
    assert!(argument_after(&launch, "-drive").contains("cache=none,aio=native"));
}

#[test]
fn process_engine_runs_the_agent_of_the_mounted_image() {
    let engine = engine("process");
    assert!(engine.guest == GuestKind::Process && !engine.needs_kvm);
    insta::assert_snapshot!("process", format_launch(&launch::render(&engine, &context(&engine, &[])).unwrap()));
}

#[test]
fn both_container_runtimes_get_the_same_configuration() {
    let of = |name: &str| {
        let engine = engine(name);
        assert!(engine.guest == GuestKind::Container && !engine.needs_kvm);
        launch::render(&engine, &context(&engine, &[])).unwrap()
    };
    let (crun, runc) = (of("crun"), of("runc"));
    insta::assert_snapshot!("crun", format_launch(&crun));
    insta::assert_snapshot!("runc", runc.argv.join("\n"));
    assert_eq!(crun.files, runc.files);
}

#[test]
fn container_configuration_follows_seccomp_and_disk_settings() {
    let engine = engine("crun");
    for (seccomp, read_only) in [(true, true), (false, false)] {
        let context = context(&engine, &[("seccomp", Level::Bool(seccomp))]);
        let launch = launch::render(&engine, &Context { disk_read_only: read_only, ..context }).unwrap();
        let config: serde_json::Value = serde_json::from_str(&launch.files[0].1).unwrap();
        assert_eq!(config["linux"]["seccomp"].is_object(), seccomp);
        assert_eq!(config["root"]["readonly"], read_only);
        assert_eq!(config["process"]["capabilities"], serde_json::json!({}));
    }
}

#[test]
fn path_with_special_characters_is_refused() {
    for name in ["firecracker", "qemu-microvm"] {
        let engine = engine(name);
        for path in ["/a,file=/etc/shadow", "/a\", \"is_read_only\": false, \"x\": \"", "/a\\b", "/a\nb"] {
            let context = Context { disk: path.into(), ..context(&engine, &[]) };
            let error = launch::render(&engine, &context).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("rename it"), "{error}");
        }
    }
}

#[test]
fn unknown_template_name_is_an_error_with_its_location() {
    let mut engine = engine("qemu-microvm");
    engine.command.argv.push("{{memroy_mib}}".into());
    let place = format!("command.argv[{}]", engine.command.argv.len() - 1);
    let error = format!("{:#}", launch::render(&engine, &context(&engine, &[])).unwrap_err());
    assert!(error.contains("qemu-microvm") && error.contains(&place) && error.contains("memroy_mib"), "{error}");
}
