//! Other processes: where they are, how they are stopped, what they hold.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tandem_service_kit::config::TelemetrySection;
use tandem_service_kit::telemetry::Telemetry;

/// How long a process may take to stop by itself.
const STOP_MAX: Duration = Duration::from_secs(20);
/// How often it is looked at meanwhile.
const STOP_LOOK: Duration = Duration::from_millis(10);

/// The folder of the workspace.
pub(crate) fn workspace_root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// Switches telemetry on as a service has it, so that spans and metrics cost what they cost there; only log lines are
/// left out, which would stand between those of the bench.
pub(crate) fn telemetry() -> anyhow::Result<Telemetry> {
    let section = TelemetrySection { log_filter: "off".to_owned(), ..TelemetrySection::default() };
    Ok(Telemetry::start(&section, "tandem-benches")?)
}

/// Sends a signal, such as `TERM`, and waits until the process has ended; kills it when that takes too long.
pub(crate) fn stop(child: &mut Child, signal: &str) {
    // The signal goes through the shell: its own command is there wherever a shell is.
    let _ = Command::new("sh").arg("-c").arg(format!("kill -{signal} {}", child.id())).status();
    let begun = Instant::now();
    while begun.elapsed() < STOP_MAX {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(STOP_LOOK),
            Ok(Some(_)) | Err(_) => return,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// A number of KiB from `/proc/…/status`, such as `VmRSS` (now) or `VmHWM` (the most so far); `self` names this process.
pub(crate) fn memory_kib(process: &str, what: &str) -> anyhow::Result<u32> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    let number = line
        .and_then(|line| line.split_whitespace().next())
        .with_context(|| format!("{path} has no {what}"))?;
    number.parse().with_context(|| format!("{what} of {path} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_own_memory() {
        let now = memory_kib("self", "VmRSS").unwrap();
        assert!(now > 0 && memory_kib("self", "VmHWM").unwrap() >= now);
        assert!(memory_kib("self", "VmNothing").is_err());
    }

    #[test]
    fn a_stopped_process_has_ended() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        stop(&mut child, "TERM");
        assert!(child.try_wait().unwrap().is_some());
    }
}
