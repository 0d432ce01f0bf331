//! The end of the story of the money: what an auditor would ask for.

use serde_json::{Value, json};

use super::tenant::Tenant;
use crate::commands::audit::{self, Service};
use crate::commands::{bill_monthly, package};
use crate::demo::proofs::Proofs;
use crate::demo::stage::Stage;
use crate::failure::Result;

/// Shows where everybody's money is, checks every proof and returns them for scripts.
///
/// Fails when any does not hold.
pub async fn check(stage: &Stage, tenants: &[&Tenant]) -> Result<Value> {
    stage.teller.part("The end")?;
    for tenant in tenants {
        stage.teller.step(&format!("What {} has", tenant.person.company))?;
        tenant.show_wallet(stage, true).await?;
    }
    let mut proofs = Proofs::begin(stage)?;
    proofs.ledger().await?;
    proofs.bills().await?;

    let months = bill_monthly::prove(&stage.operator, "").await?;
    let what = format!("{} monthly bills added up again, {} differences", months.proved, months.different);
    proofs.note(months.proved > 0 && months.different == 0, &what)?;
    proofs.keep("months", json!({ "proved": months.proved, "different": months.different }));

    let (days, different) = package::prove(&stage.operator, "").await?;
    let what = format!("{days} days of packages drawn again, {} differences", different.len());
    proofs.note(days > 0 && different.is_empty(), &what)?;
    proofs.keep("packages", json!({ "proved": days, "different": different.len() }));

    let mut audited = serde_json::Map::new();
    for service in [Service::Console, Service::Billing] {
        let found = audit::prove_service(&stage.operator, service, Vec::new()).await?;
        let breaks = found.breaks.len();
        let what = format!("{} rows of the audit of {}, {breaks} breaks", found.rows, service.name());
        proofs.note(found.rows > 0 && breaks == 0, &what)?;
        audited.insert(service.name().to_owned(), json!({ "rows": found.rows, "breaks": breaks }));
    }
    proofs.keep("audit", Value::Object(audited));
    proofs.end()
}
