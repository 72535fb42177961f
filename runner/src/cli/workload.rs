//! `selftest workload`: runs every workload of the guest agent on this machine and prints the results.

use std::path::Path;
use std::process::ExitCode;

use microbench_formats::workload::Workload;
use microbench_measure::artifacts::agent;
use microbench_measure::artifacts::cache::Cache;
use microbench_measure::selftest::workload::{WorkloadResult, measure};
use microbench_measure::{out, outln};
use microbench_study::manifest::workloads::WorkloadSpec;

/// Runs every workload of the guest agent, with its files in `folder`, and prints the results. The exit code is 1 when
/// a workload failed.
pub(super) fn print(folder: &Path) -> anyhow::Result<ExitCode> {
    let rows = measure(&agent::provide(&Cache::for_user()?)?, folder)?;
    out!("{}", table(&rows))?;
    outln!(
        "executed by the guest agent as a process of this machine, without a VM, with the loopback interface and a file in {}\n\
         1 MB is 1,000,000 bytes; p50 and p99 are latencies of one block or request, by nearest rank; checked: the host verified the result",
        folder.display()
    )?;
    let failed = rows.iter().any(|row| row.values.is_err());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn table(rows: &[WorkloadResult]) -> String {
    let mut text = format!(
        "{:12} {:22} {:>9} {:>7} {:>12} {:>10} {:>11} {:>9} {:>9}  checked\n",
        "kind", "parameters", "bytes", "rounds", "duration ms", "MB/s", "1/s", "p50 us", "p99 us"
    );
    for WorkloadResult { workload, values } in rows {
        let Workload { bytes, rounds, .. } = workload;
        let head = format!(
            "{:12} {:22} {bytes:>9} {rounds:>7}",
            WorkloadSpec::for_kind(workload.kind).name(),
            parameters(workload)
        );
        let values = match values {
            Ok(values) => values,
            Err(reason) => {
                text.push_str(&format!(
                    "{head} {:>12} {:>10} {:>11} {:>9} {:>9}  no: {reason}\n",
                    "-", "-", "-", "-", "-"
                ));
                continue;
            }
        };
        let value = |name: &str, scale: f64, digits: usize| {
            let found = values.iter().find(|(known, ..)| *known == name);
            found.map_or_else(|| "-".into(), |(_, value, _)| format!("{:.digits$}", value * scale))
        };
        let (duration, throughput, rate) =
            (value("duration", 1e-6, 3), value("throughput", 1.0, 1), value("rate", 1.0, 0));
        let (p50, p99) = (value("p50", 1e-3, 2), value("p99", 1e-3, 2));
        text.push_str(&format!("{head} {duration:>12} {throughput:>10} {rate:>11} {p50:>9} {p99:>9}  yes\n"));
    }
    text
}

/// The parameters that distinguish two workloads of the same kind.
fn parameters(workload: &Workload) -> String {
    match (workload.disk, workload.connections) {
        (Some(disk), _) => {
            let cache = if disk.direct { "direct" } else { "buffered" };
            let order = if disk.random { ", random" } else { "" };
            format!("{cache}, {} KiB{order}", disk.block >> 10)
        }
        (_, Some(1)) => "1 connection".into(),
        (_, Some(connections)) => format!("{connections} connections"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use microbench_formats::workload::{DiskAccess, WorkloadKind};

    use super::*;

    #[test]
    fn a_failed_workload_is_a_row_with_the_reason() {
        let disk = Some(DiskAccess { block: 4096, direct: true, random: true });
        let kind = WorkloadKind::DiskRead;
        let workload =
            Workload { metric: "m".into(), kind, bytes: 8192, rounds: 2, warmup: 0, disk, connections: None };
        let values = Ok(vec![
            ("duration", 2e6, "ns"),
            ("throughput", 8.192, "MB/s"),
            ("rate", 2000.0, "1/s"),
            ("p50", 1500.0, "ns"),
        ]);
        let rows = [
            WorkloadResult { workload: workload.clone(), values },
            WorkloadResult { workload, values: Err("why".into()) },
        ];
        let lines: Vec<String> =
            table(&rows).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            lines,
            [
                "kind parameters bytes rounds duration ms MB/s 1/s p50 us p99 us checked",
                "disk-read direct, 4 KiB, random 8192 2 2.000 8.2 2000 1.50 - yes",
                "disk-read direct, 4 KiB, random 8192 2 - - - - - no: why",
            ]
        );
    }
}
