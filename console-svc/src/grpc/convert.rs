//! Messages to domain types and back.

use jiff::Timestamp;
use tandem_proto::common::v1 as common;
use tandem_proto::console::v1 as console;
use tandem_service_kit::clock::whole_micros;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::validate::{self, to_message};

use crate::domain::account::{Account, Company, is_email};
use crate::domain::item::Item;
use crate::domain::member::{Member, Role};
use crate::domain::point::RawPoint;
use crate::domain::site::Site;
use crate::domain::usage_day::UsageDay;
use crate::domain::workspace::{Language, SettlementMethod, StandingCopy, Workspace};
use crate::ops::activation::Activated;

/// Longest company name in characters.
const COMPANY_NAME_MAX: usize = 128;
/// Longest industry and region.
const COMPANY_PART_MAX: usize = 64;
/// Longest description.
const COMPANY_TEXT_MAX: usize = 512;
/// Longest workspace name (D19).
const WORKSPACE_NAME_MAX: usize = 64;

/// Reads an email address.
pub(super) fn email(value: &str) -> Result<String, Fault> {
    let value = validate::required("email", value)?;
    if is_email(value) {
        Ok(value.to_owned())
    } else {
        Err(Fault::field("email", "must be an email address"))
    }
}

/// Reads a language.
pub(super) fn language(number: i32) -> Result<Language, Fault> {
    Language::from_number(number).ok_or_else(|| Fault::field("language", "must be a language"))
}

/// Reads an item.
pub(super) fn item(number: i32) -> Result<Item, Fault> {
    Item::from_number(number).ok_or_else(|| Fault::field("item", "must be a billing item"))
}

/// Reads a role.
pub(super) fn role(number: i32) -> Result<Role, Fault> {
    Role::from_number(number).ok_or_else(|| Fault::field("role", "must be a role"))
}

/// Reads a workspace's name.
pub(super) fn workspace_name(value: &str) -> Result<String, Fault> {
    validate::text("workspace_name", value, WORKSPACE_NAME_MAX).map(str::to_owned)
}

/// Reads a day.
pub(super) fn day(field: &str, value: &str) -> Result<UsageDay, Fault> {
    validate::parse(field, validate::required(field, value)?)
}

/// Reads a company.
pub(super) fn company(message: Option<common::Company>) -> Result<Company, Fault> {
    let message = message.ok_or_else(|| Fault::field("company", "is required"))?;
    let optional = |field: &str, value: &str, max: usize| {
        if value.trim().is_empty() {
            Ok(String::new())
        } else {
            validate::text(field, value, max).map(str::to_owned)
        }
    };
    Ok(Company {
        name: validate::text("company.name", &message.name, COMPANY_NAME_MAX)?.to_owned(),
        industry: optional("company.industry", &message.industry, COMPANY_PART_MAX)?,
        region: optional("company.region", &message.region, COMPANY_PART_MAX)?,
        description: optional(
            "company.description",
            &message.description.replace(['\r', '\n', '\t'], " "),
            COMPANY_TEXT_MAX,
        )?,
    })
}

impl From<Company> for common::Company {
    fn from(company: Company) -> common::Company {
        common::Company {
            name: company.name,
            industry: company.industry,
            region: company.region,
            description: company.description,
        }
    }
}

impl From<Account> for console::ConsoleAccount {
    fn from(account: Account) -> console::ConsoleAccount {
        console::ConsoleAccount {
            id: account.id.into(),
            site: account.site,
            email: account.email,
            username: account.username,
            phone: account.phone,
            company: Some(account.company.into()),
            stage: account.stage.number(),
            create_time: Some(to_message(account.created_at)),
        }
    }
}

impl From<&Site> for console::Site {
    fn from(site: &Site) -> console::Site {
        console::Site {
            code: site.code.clone(),
            name: site.name.clone(),
            provider: site.provider.clone(),
            price_zone: site.price_zone.number(),
            billing_region: site.billing_region.number(),
            time_zone: site.time_zone.clone(),
            default_settlement_methods: site.default_settlement_methods.iter().map(|m| m.number()).collect(),
        }
    }
}

/// Writes a workspace as it is at an instant, with Billing's word on it.
pub(super) fn workspace((workspace, copy): (Workspace, StandingCopy), now: Timestamp) -> console::Workspace {
    let settings = &workspace.retention;
    let retention = settings.iter(now).map(|(item, days)| {
        let next = settings.next(item, now);
        console::ItemRetention {
            item: i32::from(item.number()),
            days: i32::from(days),
            next_days: next.map_or(0, |(days, _)| i32::from(days)),
            next_time: next.map(|(_, from)| to_message(from)),
        }
    });
    let retention = retention.collect();
    console::Workspace {
        id: workspace.id.into(),
        name: workspace.name,
        site: workspace.site,
        language: workspace.language.number(),
        plan: workspace.plan.number(),
        standing: copy.standing.number(),
        lock_time: copy.lock_at.map(to_message),
        owner_account_id: workspace.owner.into(),
        retention,
        charge_start_time: workspace.charge_start_at.map(to_message),
        create_time: Some(to_message(workspace.created_at)),
        settlement_method: copy.settlement_method.map_or(0, |method| method.number()),
        billing_account_id: copy.billing_account_id.unwrap_or_default(),
    }
}

impl From<Member> for console::Member {
    fn from(member: Member) -> console::Member {
        console::Member {
            console_account_id: member.account_id.into(),
            role: member.role.number(),
            join_time: Some(to_message(member.joined_at)),
        }
    }
}

impl From<Activated> for console::ActivateWorkspaceResponse {
    fn from(activated: Activated) -> console::ActivateWorkspaceResponse {
        console::ActivateWorkspaceResponse {
            // A new plan's settings hold from the beginning.
            workspace: Some(workspace((activated.workspace, activated.standing), Timestamp::MAX)),
            billing_account_id: activated.billing_account_id,
        }
    }
}

impl From<Activated> for console::UpgradeWorkspaceResponse {
    fn from(activated: Activated) -> console::UpgradeWorkspaceResponse {
        console::UpgradeWorkspaceResponse {
            // A new plan's settings hold from the beginning.
            workspace: Some(workspace((activated.workspace, activated.standing), Timestamp::MAX)),
            billing_account_id: activated.billing_account_id,
        }
    }
}

impl From<console::UsagePoint> for RawPoint {
    fn from(point: console::UsagePoint) -> RawPoint {
        let hour = |time: prost_types::Timestamp| {
            let in_range = (0..1_000_000_000).contains(&time.nanos);
            let time = Timestamp::new(time.seconds, time.nanos).ok().filter(|_| in_range)?;
            // A part of a microsecond would be lost, and such a time is no whole hour anyway.
            (whole_micros(time) == time).then_some(time)
        };
        RawPoint {
            workspace_id: point.workspace_id,
            hour_start: point.hour_start_time.and_then(hour),
            item: point.item,
            measure: point.measure,
            retention_days: point.retention_days,
            sub_key: point.sub_key,
            quantity: point.quantity,
        }
    }
}

/// Checks the terms of a Commercial workspace: a payer, a method, and a purchase exactly when the method is a cloud.
pub(super) fn terms(field: &str, terms: &console::CommercialActivation) -> Result<(), Fault> {
    use console::commercial_activation::{Payer, Purchase};
    let fail = |name: &str, right: &str| Err(Fault::field(format!("{field}.{name}"), right));
    match &terms.payer {
        Some(Payer::CreateBillingAccount(true)) => {}
        Some(Payer::ExistingAccount(proof)) => {
            validate::required(&format!("{field}.existing_account.username"), &proof.username)?;
            validate::required(&format!("{field}.existing_account.code"), &proof.code)?;
        }
        Some(Payer::CreateBillingAccount(false)) | None => {
            return fail("payer", "say create_billing_account = true or name an existing_account");
        }
    }
    let Some(method) = SettlementMethod::from_number(terms.settlement_method) else {
        return fail("settlement_method", "must be a settlement method");
    };
    match (method, &terms.purchase) {
        (SettlementMethod::BillingCenter, None) => Ok(()),
        (SettlementMethod::BillingCenter, Some(_)) => {
            fail("purchase", "must be absent for the Billing Center")
        }
        (_, None) => fail("purchase", "is required for a cloud"),
        (_, Some(Purchase::PurchaseIds(_) | Purchase::LandingTicket(_) | Purchase::CloudAccountId(_))) => {
            Ok(())
        }
    }
}
