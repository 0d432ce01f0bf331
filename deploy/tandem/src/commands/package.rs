//! `tandem package`: annual and traffic packages.

use clap::Subcommand;
use serde_json::json;
use tandem_proto::billing::v1::{
    GetPackageUsageRequest, GetPackageUsageResponse, ListPackageOffersRequest, ListPackagesRequest,
    OrderPackageRequest, Package, PackageDifference, PackageItem, PackageOffer, ProvePackagesRequest,
    TrafficOrder, UpgradePackageRequest,
};
use tandem_proto::day::UsageDay;

use crate::cli::{Global, Limit, Once};
use crate::client::{Clients, PAGE_SIZE, all_pages, present};
use crate::failure::{Failure, Result};
use crate::output::{Cell, Table};

/// Packages: quota a day, bought for 372 days.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem package offers
  tandem package order --account lin_teahouse --annual start-up --traffic logs:30 --workspace wks_0198…
  tandem package upgrade --account lin_teahouse pkg_0198… --to growth
  tandem package list --account lin_teahouse
  tandem package usage --account lin_teahouse --day 2026-03-02
  tandem package prove                 exit code 4 when something differs from the rule")]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// List what can be bought
    Offers,
    /// Buy an annual package, traffic packages or both, paid from the account's balance
    Order(Order),
    /// Replace an annual package by a larger one for the rest of its days
    Upgrade {
        /// The billing account: its id, bac_…, or its username
        #[arg(long)]
        account: String,
        /// The package, pkg_…
        package: String,
        /// The larger annual package's code
        #[arg(long, value_name = "CODE")]
        to: String,
        #[command(flatten)]
        once: Once,
    },
    /// List an account's packages, oldest first
    List {
        /// The billing account: its id, bac_…, or its username
        #[arg(long)]
        account: String,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show what bills have drawn of an account's quotas of a usage day, and what went beyond
    Usage {
        /// The billing account: its id, bac_…, or its username
        #[arg(long)]
        account: String,
        /// The usage day, YYYY-MM-DD
        #[arg(long)]
        day: UsageDay,
    },
    /// Draw recorded quotas again and say what differs
    Prove {
        /// Only this account's: its id, bac_…, or its username
        #[arg(long)]
        account: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
struct Order {
    /// The billing account: its id, bac_…, or its username
    #[arg(long)]
    account: String,
    /// The annual package's code
    #[arg(long, value_name = "CODE", default_value = "", hide_default_value = true)]
    annual: String,
    /// A traffic package: its code, how many times its base size, and what was agreed of its price in percent
    #[arg(long, value_name = "CODE[:TIMES[:PERCENT]]", value_parser = traffic)]
    traffic: Vec<TrafficOrder>,
    /// Whom for, wks_…; give it several times, the first uses the quota first
    #[arg(long = "workspace", value_name = "WORKSPACE", required = true)]
    workspaces: Vec<String>,
    /// The first usage day [default: the first that is not closed or billed]
    #[arg(long, value_name = "YYYY-MM-DD")]
    start: Option<UsageDay>,
    #[command(flatten)]
    once: Once,
}

/// Reads `logs:30:80`.
fn traffic(text: &str) -> Result<TrafficOrder, String> {
    let right = || {
        "write a code, how many times its base size, and a percentage, such as logs:30 or logs:30:80"
            .to_owned()
    };
    let mut parts = text.split(':');
    let offer = parts.next().filter(|code| !code.is_empty()).ok_or_else(right)?.to_owned();
    let number = |part: Option<&str>, missing: i32| match part {
        None => Ok(missing),
        Some(text) => text.parse::<i32>().ok().filter(|number| *number > 0).ok_or_else(right),
    };
    let (multiple, price_percent) = (number(parts.next(), 1)?, number(parts.next(), 100)?);
    if parts.next().is_some() {
        return Err(right());
    }
    Ok(TrafficOrder { offer, multiple, price_percent })
}

/// Runs the act.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let (clients, output) = (global.clients()?, global.output());
    match args.act {
        Act::Offers => output.table(&offers_table(&offers(&clients).await?)),
        Act::Order(order) => {
            let account = clients.billing_account_id(&order.account).await?;
            let request_id = order.once.id();
            let request = OrderPackageRequest {
                request_id: request_id.clone(),
                billing_account_id: account,
                annual_offer: order.annual,
                traffic: order.traffic,
                workspace_ids: order.workspaces,
                start_day: order.start.map(|day| day.to_string()).unwrap_or_default(),
            };
            let answer = clients.packages().order_package(request).await;
            let bought = answer.map_err(|status| Failure::of_act(status, &request_id))?.into_inner();
            output.table(&packages_table(&bought.packages))
        }
        Act::Upgrade { account, package, to, once } => {
            let account = clients.billing_account_id(&account).await?;
            let request_id = once.id();
            let request = UpgradePackageRequest {
                request_id: request_id.clone(),
                billing_account_id: account,
                package_id: package,
                offer: to,
            };
            let answer = clients.packages().upgrade_package(request).await;
            let upgraded = answer.map_err(|status| Failure::of_act(status, &request_id))?.into_inner();
            output.table(&packages_table(&[present(upgraded.package, "package")?]))
        }
        Act::List { account, limit } => {
            let account = clients.billing_account_id(&account).await?;
            let listed = all_pages(limit.limit, |page_token| {
                let (clients, billing_account_id) = (&clients, account.clone());
                async move {
                    let request =
                        ListPackagesRequest { billing_account_id, page_size: PAGE_SIZE, page_token };
                    let page = clients.packages().list_packages(request).await?.into_inner();
                    Ok((page.packages, page.next_page_token))
                }
            });
            let listed = listed.await?;
            output.list(&packages_table(&listed.rows), listed.more)
        }
        Act::Usage { account, day } => {
            let billing_account_id = clients.billing_account_id(&account).await?;
            let request = GetPackageUsageRequest { billing_account_id, usage_day: day.to_string() };
            let usage = clients.packages().get_package_usage(request).await?.into_inner();
            let costs = Table::of_one(vec![
                ("usage_day", Cell::text(day.to_string())),
                ("annual_day_price", Cell::amount(usage.annual_day_price.as_ref())),
                ("traffic_day_price", Cell::amount(usage.traffic_day_price.as_ref())),
                ("excess", Cell::amount(usage.excess.as_ref())),
                ("beyond_annual", Cell::amount(usage.beyond_annual.as_ref())),
            ]);
            if global.json {
                let mut value = costs.to_json()[0].take();
                value["quotas"] = usage_table(&usage).to_json();
                return output.value(&value);
            }
            output.table(&usage_table(&usage))?;
            output.say("")?;
            output.record(&costs)
        }
        Act::Prove { account } => {
            let account = match account {
                Some(name) => clients.billing_account_id(&name).await?,
                None => String::new(),
            };
            let (proved, differences) = prove(&clients, &account).await?;
            if global.json {
                let listed = differences_table(&differences).to_json();
                output.value(
                    &json!({ "proved": proved, "different": differences.len(), "differences": listed }),
                )?;
            } else if differences.is_empty() {
                output.say(
                    &output.style.green(&format!("{proved} usage days of packages drawn again, all equal")),
                )?;
            } else {
                output.list(&differences_table(&differences), false)?;
            }
            if differences.is_empty() {
                return Ok(());
            }
            Err(Failure::Proof(format!(
                "{} differences in {proved} usage days of packages",
                differences.len()
            )))
        }
    }
}

async fn offers(clients: &Clients) -> Result<Vec<PackageOffer>> {
    let listed = all_pages(usize::MAX, |page_token| async move {
        let request = ListPackageOffersRequest { page_size: PAGE_SIZE, page_token };
        let page = clients.packages().list_package_offers(request).await?.into_inner();
        Ok((page.offers, page.next_page_token))
    });
    Ok(listed.await?.rows)
}

/// Draws all recorded quotas again, page by page: how many usage days, and what differs.
pub async fn prove(clients: &Clients, account: &str) -> Result<(i64, Vec<PackageDifference>)> {
    let (mut proved, mut differences, mut page_token) = (0, Vec::new(), String::new());
    loop {
        let request = ProvePackagesRequest {
            billing_account_id: account.to_owned(),
            page_size: PAGE_SIZE,
            page_token: page_token.clone(),
        };
        let page = clients.packages().prove_packages(request).await?.into_inner();
        proved += i64::from(page.proved_count);
        differences.extend(page.differences);
        if page.next_page_token.is_empty() {
            return Ok((proved, differences));
        }
        if page.next_page_token == page_token {
            return Err(Failure::failed("the service repeats a page token"));
        }
        page_token = page.next_page_token;
    }
}

/// What a package contains a day, in few words.
fn contents(items: &[PackageItem]) -> String {
    let item = |item: &PackageItem| {
        let name = item.item().as_str_name().trim_start_matches("BILLING_ITEM_").to_owned();
        format!("{} {name}", Cell::quantity(item.quota_hundredths).to_text())
    };
    items.iter().map(item).collect::<Vec<_>>().join(", ")
}

fn offers_table(offers: &[PackageOffer]) -> Table {
    let mut table = Table::new(&["code", "kind", "price", "a_day"]);
    for offer in offers {
        table.row([
            Cell::text(&offer.code),
            Cell::name(offer.kind().as_str_name(), "PACKAGE_KIND_"),
            Cell::money(offer.price.as_ref()),
            Cell::text(contents(&offer.items)),
        ]);
    }
    table
}

/// Packages as a table.
pub fn packages_table(packages: &[Package]) -> Table {
    let mut table = Table::new(&[
        "id",
        "offer",
        "multiple",
        "state",
        "first_day",
        "last_day",
        "price",
        "charged",
        "workspaces",
        "a_day",
        "ordered_at",
    ]);
    for package in packages {
        table.row([
            Cell::text(&package.id),
            Cell::text(&package.offer),
            Cell::Number(package.multiple),
            Cell::name(package.state().as_str_name(), "PACKAGE_STATE_"),
            Cell::text(&package.first_day),
            Cell::text(&package.last_day),
            Cell::money(package.price.as_ref()),
            Cell::money(package.charged.as_ref()),
            Cell::Number(i64::try_from(package.workspace_ids.len()).unwrap_or(i64::MAX)),
            Cell::text(contents(&package.items)),
            Cell::time(package.order_time),
        ]);
    }
    table
}

/// What was drawn of the quotas of a day as a table.
pub fn usage_table(usage: &GetPackageUsageResponse) -> Table {
    let mut table =
        Table::new(&["package_id", "offer", "item", "quota", "drawn", "workspace_id", "workspace_drawn"]);
    for package in &usage.packages {
        for item in &package.items {
            let row = |workspace: &str, drawn: Cell| {
                [
                    Cell::text(&package.package_id),
                    Cell::text(&package.offer),
                    Cell::name(item.item().as_str_name(), "BILLING_ITEM_"),
                    Cell::quantity(item.quota_hundredths),
                    Cell::quantity(item.drawn_hundredths),
                    Cell::text(workspace),
                    drawn,
                ]
            };
            for draw in &item.workspaces {
                table.row(row(&draw.workspace_id, Cell::quantity(draw.drawn_hundredths)));
            }
            if item.workspaces.is_empty() {
                table.row(row("", Cell::Absent));
            }
        }
    }
    table
}

fn differences_table(differences: &[PackageDifference]) -> Table {
    let mut table = Table::new(&["billing_account_id", "usage_day", "what", "stored", "recomputed"]);
    for difference in differences {
        table.row([
            Cell::text(&difference.billing_account_id),
            Cell::text(&difference.usage_day),
            Cell::text(&difference.what),
            Cell::text(&difference.stored),
            Cell::text(&difference.recomputed),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_packages_are_read_or_refused() {
        let read = |text: &str| traffic(text).map(|order| (order.offer, order.multiple, order.price_percent));
        assert_eq!(read("logs"), Ok(("logs".into(), 1, 100)));
        assert_eq!(read("logs:30"), Ok(("logs".into(), 30, 100)));
        assert_eq!(read("logs:30:80"), Ok(("logs".into(), 30, 80)));
        for bad in ["", ":30", "logs:0", "logs:x", "logs:1:0", "logs:1:80:1", "logs:"] {
            assert!(read(bad).is_err(), "accepted {bad:?}");
        }
    }
}
