//! Parser of the records of `/dev/kmsg`: `priority,sequence,microseconds,flags;text`
//! (Documentation/ABI/testing/dev-kmsg in the kernel source). The module does no I/O.

/// Prefix of the agent's record that relates the two clocks; the value of `CLOCK_MONOTONIC` in ns follows.
pub const CLOCK_RECORD: &str = "microbench-agent: clock ";

/// Summary of a kernel log. Time stamps are microseconds on the clock of the log.
///
/// ```
/// use microbench_agent::kernel_log::KernelLog;
///
/// let mut log = KernelLog::default();
/// log.add_record("6,140,98123,-;Run /sbin/init as init process\n");
/// assert_eq!((log.messages, log.init), (1, Some(98_123)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelLog {
    /// Number of messages of the kernel.
    pub messages: u64,
    /// Time stamp of the last message.
    pub last: Option<u64>,
    /// Time stamp of the start of init.
    pub init: Option<u64>,
    /// Time stamp of the message that the random number generator is seeded.
    pub random_seeded: Option<u64>,
    /// Time stamp of `random: fast init done`, which kernels before 5.18 log.
    pub random_fast_init: Option<u64>,
    /// Lead of the log's clock over `CLOCK_MONOTONIC`, ns; `None` without a [`CLOCK_RECORD`].
    pub lead: Option<i64>,
}

impl KernelLog {
    /// Adds a record. Records of user space (facility other than 0) are not counted; invalid records are ignored.
    pub fn add_record(&mut self, record: &str) {
        let Some((head, text)) = record.split_once(';') else { return };
        let mut fields = head.split(',');
        let (Some(priority), Some(_), Some(stamp)) = (fields.next(), fields.next(), fields.next()) else { return };
        let (Ok(priority), Ok(stamp)) = (priority.parse::<u32>(), stamp.parse::<u64>()) else { return };
        // The lines after the first are properties of the device.
        let text = text.lines().next().unwrap_or_default();
        if priority >> 3 != 0 {
            self.lead = parse_lead(stamp, text).or(self.lead);
            return;
        }
        self.messages = self.messages.saturating_add(1);
        self.last = Some(stamp);
        if text.starts_with("Run ") && text.ends_with(" as init process") {
            // A second message means that the first program could not be executed.
            self.init = Some(stamp);
        }
        match text {
            "random: crng init done" => {
                self.random_seeded.get_or_insert(stamp);
            }
            "random: fast init done" => {
                self.random_fast_init.get_or_insert(stamp);
            }
            _ => {}
        }
    }
}

/// The lead of the log's clock over `CLOCK_MONOTONIC` in ns, if `text` is a [`CLOCK_RECORD`].
fn parse_lead(stamp: u64, text: &str) -> Option<i64> {
    let monotonic: i64 = text.strip_prefix(CLOCK_RECORD)?.parse().ok()?;
    i64::try_from(stamp).ok()?.checked_mul(1000)?.checked_sub(monotonic)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From a guest with Linux 6.1.
    const RECORDS: [&str; 7] = [
        "5,0,0,-;Linux version 6.1.0 (microbench@microbench)\n",
        "6,1,0,-;Command line: console=ttyS0 quiet\n",
        "5,98,71022,-;random: crng init done\n",
        "6,140,98123,-;Run /sbin/init as init process\n SUBSYSTEM=x\n",
        "30,141,150000,-;init[1]: a message of user space\n",
        "14,142,160000,-;microbench-agent: clock 148000000\n",
        "garbage",
    ];

    #[test]
    fn log_is_summarised_with_counts_and_time_stamps() {
        let mut log = KernelLog::default();
        RECORDS.iter().for_each(|record| log.add_record(record));
        let expected = KernelLog {
            messages: 4,
            last: Some(98_123),
            init: Some(98_123),
            random_seeded: Some(71_022),
            random_fast_init: None,
            lead: Some(12_000_000),
        };
        assert_eq!(log, expected);
    }
}
