//! Sends a file's points to the Console in batches.
//!
//! Batches go one after the other: a later line of the same key replaces an earlier one, and that order must hold.
//! `RecordUsage` is used, not the stream, because its answer names every refused point.

use std::io::{BufRead, Read as _};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tandem_proto::console::v1::{RecordUsageRequest, RecordUsageResponse, UsagePoint};
use tandem_proto::ids::WorkspaceId;
use tandem_service_kit::fresh;

use super::parse::{BadLine, Format, Parsed, Parser};
use super::report::{RefusedLine, Report};
use crate::client::Clients;
use crate::failure::{Attempt as _, Failure, Result, retry_after_secs};

/// Points in one call: large enough that the round trip does not matter, well below the 4 MiB a call may have.
pub const BATCH_POINTS: usize = 1_000;
/// Tries of one batch before the import gives up; with the waits between them about half a minute.
const TRIES_MAX: u32 = 6;
/// Longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// One import.
#[derive(Debug)]
pub struct Import {
    digest: String,
    batch: u64,
    lines: Vec<u64>,
    points: Vec<UsagePoint>,
    report: Report,
}

/// Digest of a file and of what is read into it; the request ids of its import derive from it.
pub fn digest(path: &Path, format: Format, workspace: Option<&WorkspaceId>) -> Result<String> {
    let attempt = || format!("reading {}", path.display());
    let mut file = std::fs::File::open(path).attempt(attempt)?;
    let mut hash = Sha256::new();
    hash.update(format.name());
    hash.update([0]);
    hash.update(workspace.map_or("", WorkspaceId::as_str));
    hash.update([0]);
    let mut buffer = vec![0_u8; 1 << 16];
    loop {
        let count = file.read(&mut buffer).attempt(attempt)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
    }
    Ok(hex::encode(&hash.finalize()[..16]))
}

impl Import {
    /// Starts an import whose request ids derive from `digest`: repeating it sends the same calls.
    pub fn new(digest: String) -> Import {
        Import { digest, batch: 0, lines: Vec::new(), points: Vec::new(), report: Report::default() }
    }

    /// Sends everything a parser reads. `seen` is told the bytes read so far, after each batch.
    ///
    /// Fails when the service refuses a whole batch or stays away; what was sent before is recorded, and repeating the
    /// import is safe.
    pub async fn run<R: BufRead>(
        mut self,
        clients: &Clients,
        mut parser: Parser<R>,
        mut seen: impl FnMut(u64, &Report),
    ) -> Result<Report> {
        while let Some(parsed) = parser.read()? {
            match parsed {
                Parsed::Point { line, point } => {
                    self.lines.push(line);
                    self.points.push(point);
                }
                Parsed::Bad(BadLine { line, message }) => {
                    self.report.refuse(RefusedLine { line, reason: "INVALID_LINE".to_owned(), message });
                }
            }
            if self.points.len() == BATCH_POINTS {
                self.send(clients).await?;
                seen(parser.bytes(), &self.report);
            }
        }
        if !self.points.is_empty() {
            self.send(clients).await?;
        }
        seen(parser.bytes(), &self.report);
        self.report.named.sort_by_key(|refused| refused.line);
        Ok(self.report)
    }

    async fn send(&mut self, clients: &Clients) -> Result<()> {
        let request_id = format!("import-{}-{}", self.digest, self.batch);
        let points = std::mem::take(&mut self.points);
        let lines = std::mem::take(&mut self.lines);
        self.batch += 1;
        let answer = record(clients, RecordUsageRequest { request_id, points }).await?;
        let count = |n: i32| u64::try_from(n).unwrap_or(0);
        self.report.accepted += count(answer.accepted_count);
        self.report.duplicate += count(answer.duplicate_count);
        self.report.replaced += count(answer.replaced_count);
        for refused in answer.refused {
            let line = usize::try_from(refused.index).ok().and_then(|index| lines.get(index));
            let line =
                *line.ok_or_else(|| Failure::failed("the service refused a point that was not sent"))?;
            self.report.refuse(RefusedLine { line, reason: refused.reason, message: refused.message });
        }
        Ok(())
    }
}

/// Sends one batch, and again with the same id while the service says that a retry may help.
async fn record(clients: &Clients, request: RecordUsageRequest) -> Result<RecordUsageResponse> {
    let mut wait = Duration::from_millis(200);
    for attempt in 1.. {
        let status = match clients.usage().record_usage(request.clone()).await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) => status,
        };
        let open = matches!(status.code(), tonic::Code::Unavailable | tonic::Code::DeadlineExceeded);
        let told = retry_after_secs(&status);
        if attempt == TRIES_MAX || (told.is_none() && !open) {
            return Err(Failure::of_act(status, &request.request_id));
        }
        let next = told.map_or(wait, |secs| wait.max(Duration::from_secs(secs))).min(WAIT_MAX);
        tokio::time::sleep(fresh::jittered(next)).await;
        wait = (wait * 2).min(WAIT_MAX);
    }
    Err(Failure::failed("the batch was not sent"))
}
