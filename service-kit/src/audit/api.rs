//! `tandem.common.v1.AuditService`: the operator's view of who tried what.

use tandem_proto::access;
use tandem_proto::common::v1 as pb;
use tandem_proto::common::v1::audit_service_server::{self, AuditServiceServer};
use tandem_proto::page::Page;
use tonic::{Request, Response, Status};

use super::prove::{self, Break, BreakKind};
use super::row::{Head, Outcome, Row};
use super::store::{self, Filter};
use crate::db::Database;
use crate::fault::Fault;
use crate::identity::role_from_name;
use crate::server::{DECODE_MAX, ENCODE_MAX};
use crate::validate;

/// Most rows proved in one call: hashing them takes a few milliseconds, reading them far less than the time limit.
const PROVED_MAX: i64 = 2_000;
/// Most heads that a caller may bring along.
const KNOWN_MAX: usize = 500;

/// Lists and proves the audit of one database.
#[derive(Clone)]
pub struct AuditService(Database);

impl AuditService {
    /// Makes the gRPC service.
    pub fn server(db: Database) -> AuditServiceServer<AuditService> {
        AuditServiceServer::new(AuditService(db))
            .max_decoding_message_size(DECODE_MAX)
            .max_encoding_message_size(ENCODE_MAX)
    }
}

#[tonic::async_trait]
impl audit_service_server::AuditService for AuditService {
    async fn list_audit(
        &self,
        request: Request<pb::ListAuditRequest>,
    ) -> Result<Response<pb::ListAuditResponse>, Status> {
        let request = request.into_inner();
        let bound = |field, time: Option<prost_types::Timestamp>| {
            time.map(|time| validate::timestamp(field, Some(time))).transpose()
        };
        let filter = Filter {
            from: bound("start_time", request.start_time)?,
            until: bound("end_time", request.end_time)?,
            principal: plain("principal", request.principal)?,
            methods: methods(&request.method)?,
            object: plain("object", request.object)?,
            outcome: outcome(request.outcome)?,
        };
        if let (Some(from), Some(until)) = (filter.from, filter.until)
            && from >= until
        {
            return Err(Fault::field("end_time", "must be after start_time").into());
        }
        let page = page(request.page_size, &request.page_token, 3)?;
        let rows =
            store::list(&self.0.read, &filter, &page.after, page.limit()).await.map_err(Fault::from)?;
        let (rows, next_page_token) = page.cut(rows, |row| {
            vec![row.record.at.as_microsecond().to_string(), row.chain.clone(), row.number.to_string()]
        });
        let rows = rows.into_iter().map(row_message).collect();
        Ok(Response::new(pb::ListAuditResponse { rows, next_page_token }))
    }

    async fn prove_audit(
        &self,
        request: Request<pb::ProveAuditRequest>,
    ) -> Result<Response<pb::ProveAuditResponse>, Status> {
        let request = request.into_inner();
        if request.known_heads.len() > KNOWN_MAX {
            return Err(Fault::field("known_heads", format!("at most {KNOWN_MAX}")).into());
        }
        let known: Result<Vec<Head>, Fault> = request.known_heads.into_iter().map(known_head).collect();
        let page = page(request.page_size, &request.page_token, 2)?;
        let after = match page.after.as_slice() {
            [chain, number] => Some((chain.clone(), number.parse().map_err(|_| bad_token())?)),
            _ => None,
        };
        let limit = match i64::from(request.page_size) {
            ..=0 => PROVED_MAX,
            size => size.min(PROVED_MAX),
        };
        let proof = prove::prove(&self.0, after, limit, &known?).await.map_err(Fault::from)?;
        let next_page_token = match proof.next {
            // The page's own way to make tokens, from a list of one row that has a successor.
            Some((chain, number)) => {
                let one = Page { size: 1, after: Vec::new() };
                one.cut(vec![(), ()], |()| vec![chain.clone(), number.to_string()]).1
            }
            None => String::new(),
        };
        Ok(Response::new(pb::ProveAuditResponse {
            row_count: proof.rows,
            unkeyed_row_count: proof.unkeyed,
            breaks: proof.breaks.into_iter().map(break_message).collect(),
            heads: proof.heads.into_iter().map(head_message).collect(),
            next_page_token,
        }))
    }
}

fn page(size: i32, token: &str, parts: usize) -> Result<Page, Fault> {
    let page = Page::from_request(size, token, parts).map_err(|_| bad_token())?;
    // A token that was made up may hold what no database takes.
    let made_up = page.after.iter().any(|part| part.chars().any(char::is_control));
    if made_up { Err(bad_token()) } else { Ok(page) }
}

fn bad_token() -> Fault {
    Fault::field("page_token", tandem_proto::page::BadToken.to_string())
}

/// A text that the database can be asked for.
fn plain(field: &str, text: String) -> Result<String, Fault> {
    if text.chars().any(char::is_control) {
        return Err(Fault::field(field, "must not contain control characters"));
    }
    Ok(text)
}

/// The paths that a method's path or last part names. A path that this release does not know may be an older one's.
fn methods(name: &str) -> Result<Vec<String>, Fault> {
    if name.is_empty() {
        return Ok(Vec::new());
    }
    if name.starts_with('/') {
        return plain("method", name.to_owned()).map(|path| vec![path]);
    }
    let paths = access::METHODS.iter().map(|method| method.path);
    let paths: Vec<String> =
        paths.filter(|path| path.rsplit('/').next() == Some(name)).map(str::to_owned).collect();
    if paths.is_empty() {
        return Err(Fault::field(
            "method",
            "must be a method's path or its last part, such as CreateRecharge",
        ));
    }
    Ok(paths)
}

fn outcome(number: i32) -> Result<Option<Outcome>, Fault> {
    match pb::AuditOutcome::try_from(number) {
        Ok(pb::AuditOutcome::Unspecified) => Ok(None),
        Ok(pb::AuditOutcome::Accepted) => Ok(Some(Outcome::Accepted)),
        Ok(pb::AuditOutcome::Repeated) => Ok(Some(Outcome::Repeated)),
        Ok(pb::AuditOutcome::Refused) => Ok(Some(Outcome::Refused)),
        Ok(pb::AuditOutcome::Failed) => Ok(Some(Outcome::Failed)),
        Ok(pb::AuditOutcome::Anchor) => Ok(Some(Outcome::Anchor)),
        Err(_) => Err(Fault::field("outcome", "must be a value of AuditOutcome")),
    }
}

fn known_head(head: pb::AuditHead) -> Result<Head, Fault> {
    let hash = hex::decode(&head.hash).ok().filter(|hash| hash.len() == 32);
    let hash = hash.ok_or_else(|| Fault::field("known_heads.hash", "must be 64 hexadecimal digits"))?;
    Ok(Head { chain: plain("known_heads.chain", head.chain)?, number: head.number, hash })
}

fn row_message(row: Row) -> pb::AuditRow {
    let record = row.record;
    let outcome = match record.outcome {
        Outcome::Accepted => pb::AuditOutcome::Accepted,
        Outcome::Repeated => pb::AuditOutcome::Repeated,
        Outcome::Refused => pb::AuditOutcome::Refused,
        Outcome::Failed => pb::AuditOutcome::Failed,
        Outcome::Anchor => pb::AuditOutcome::Anchor,
    };
    pb::AuditRow {
        chain: row.chain,
        number: row.number,
        time: Some(validate::to_message(record.at)),
        principal: record.principal,
        role: role_from_name(&record.role).map_or(0, i32::from),
        method: record.method,
        request_id: record.request_id,
        digest: hex::encode(record.digest),
        object_ids: record.objects,
        outcome: outcome.into(),
        reason: record.reason,
        attempt_count: record.attempts,
        note: record.note,
        previous_hash: hex::encode(row.prev_hash),
        hash: hex::encode(row.hash),
    }
}

fn break_message(found: Break) -> pb::AuditBreak {
    let kind = match found.kind {
        BreakKind::RowChanged => pb::AuditBreakKind::RowChanged,
        BreakKind::LinkWrong => pb::AuditBreakKind::LinkWrong,
        BreakKind::RowsMissing => pb::AuditBreakKind::RowsMissing,
        BreakKind::HeadMissing => pb::AuditBreakKind::HeadMissing,
        BreakKind::KeyUnknown => pb::AuditBreakKind::KeyUnknown,
    };
    pb::AuditBreak {
        chain: found.chain,
        number: found.number,
        kind: kind.into(),
        time: found.at.map(validate::to_message),
    }
}

fn head_message(head: Head) -> pb::AuditHead {
    pb::AuditHead { chain: head.chain, number: head.number, hash: hex::encode(head.hash) }
}
