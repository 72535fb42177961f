//! Records of the kernel's log as `/dev/kmsg` gives them: `priority,sequence,microseconds,flags;text`
//! (Documentation/ABI/testing/dev-kmsg in the kernel's source). Pure; the agent's binary does the reading.

/// First words of the agent's own record that relates the clocks; CLOCK_MONOTONIC in ns follows.
pub const CLOCK_RECORD: &str = "microbench-agent: clock ";

/// What the log says of the boot. Stamps are microseconds of the kernel's own clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelLog {
    /// Messages of the kernel.
    pub messages: u64,
    /// Stamp of the last message.
    pub last: Option<u64>,
    /// Stamp of the hand-over to init.
    pub init: Option<u64>,
    /// Stamp of the message that the random pool is seeded.
    pub random_seeded: Option<u64>,
    /// Stamp of the message that it is initialised fast, of kernels before 5.18.
    pub random_fast_init: Option<u64>,
    /// By how many nanoseconds the stamps' clock is ahead of CLOCK_MONOTONIC, by the last record that the agent put there.
    pub lead: Option<i64>,
}

impl KernelLog {
    /// Takes in one record; those that user space wrote (facility other than 0) do not count.
    pub fn take(&mut self, record: &str) {
        let Some((head, text)) = record.split_once(';') else { return };
        let mut fields = head.split(',');
        let (Some(priority), Some(_), Some(stamp)) = (fields.next(), fields.next(), fields.next()) else { return };
        let (Ok(priority), Ok(stamp)) = (priority.parse::<u32>(), stamp.parse::<u64>()) else { return };
        // Lines after the first carry dictionary properties.
        let text = text.lines().next().unwrap_or_default();
        if priority >> 3 != 0 {
            self.lead = lead(stamp, text).or(self.lead);
            return;
        }
        self.messages += 1;
        self.last = Some(stamp);
        if text.starts_with("Run ") && text.ends_with(" as init process") {
            // A second one means that the first could not be run.
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

/// The lead of the stamps' clock, when `text` is the agent's record of both.
fn lead(stamp: u64, text: &str) -> Option<i64> {
    let monotonic: i64 = text.strip_prefix(CLOCK_RECORD)?.parse().ok()?;
    i64::try_from(stamp).ok()?.checked_mul(1000)?.checked_sub(monotonic)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Taken from a 6.1 guest.
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
    fn a_log_reads_as_counts_and_stamps() {
        let mut log = KernelLog::default();
        RECORDS.iter().for_each(|record| log.take(record));
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
