//! `tandem invoice profile` and `tandem invoice address`: how a company wants its invoices, and where.

use clap::{Subcommand, ValueEnum};
use tandem_proto::billing::v1 as pb;

use crate::cli::{Global, Limit, Once};
use crate::client::{Clients, PAGE_SIZE, all_pages, present};
use crate::failure::{Failure, Result};
use crate::output::{Cell, Table};

/// How a company wants its invoices.
#[derive(Debug, Subcommand)]
pub(super) enum Profile {
    /// Add a profile; its title is the verified company's name
    Add {
        /// The billing account: its id, bac_…, or its username
        #[arg(long)]
        account: String,
        #[command(flatten)]
        details: Details,
        #[command(flatten)]
        once: Once,
    },
    /// Replace what a profile says
    Change {
        /// The billing account: its id, bac_…, or its username
        #[arg(long)]
        account: String,
        /// The profile, ivp_…
        profile: String,
        #[command(flatten)]
        details: Details,
        #[command(flatten)]
        once: Once,
    },
    /// List an account's profiles
    List(Of),
    /// Delete a profile
    Delete {
        /// The billing account: its id, bac_…, or its username
        #[arg(long)]
        account: String,
        /// The profile, ivp_…
        profile: String,
        #[command(flatten)]
        once: Once,
    },
}

/// Where invoices are sent.
#[derive(Debug, Subcommand)]
pub(super) enum Address {
    /// Add a delivery address
    Add {
        /// The billing account: its id, bac_…, or its username
        #[arg(long)]
        account: String,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        once: Once,
    },
    /// Replace what a delivery address says
    Change {
        /// The billing account: its id, bac_…, or its username
        #[arg(long)]
        account: String,
        /// The address, ida_…
        address: String,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        once: Once,
    },
    /// List an account's delivery addresses
    List(Of),
    /// Delete a delivery address
    Delete {
        /// The billing account: its id, bac_…, or its username
        #[arg(long)]
        account: String,
        /// The address, ida_…
        address: String,
        #[command(flatten)]
        once: Once,
    },
}

/// Whose.
#[derive(Debug, clap::Args)]
pub(super) struct Of {
    /// The billing account: its id, bac_…, or its username
    #[arg(long)]
    account: String,
    #[command(flatten)]
    limit: Limit,
}

/// What an invoice says beside its title.
#[derive(Debug, clap::Args)]
pub(super) struct Details {
    /// The kind; a VAT special invoice needs all that follows
    #[arg(long, value_enum)]
    kind: Kind,
    /// The bank
    #[arg(long, default_value = "", hide_default_value = true)]
    bank: String,
    /// The account there
    #[arg(long, default_value = "", hide_default_value = true)]
    bank_account: String,
    /// The registered address
    #[arg(long, default_value = "", hide_default_value = true)]
    registered_address: String,
    /// The landline
    #[arg(long, default_value = "", hide_default_value = true)]
    landline: String,
}

/// A place.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// The recipient's name
    #[arg(long)]
    recipient: String,
    /// The recipient's phone
    #[arg(long)]
    phone: String,
    /// Where electronic invoices go
    #[arg(long, default_value = "", hide_default_value = true)]
    email: String,
    /// The postal address, where invoices on paper go
    #[arg(long, default_value = "", hide_default_value = true)]
    postal: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// On paper, for final consumers
    VatOrdinary,
    /// On paper, for deducting input tax
    VatSpecial,
    /// A file
    ElectronicOrdinary,
}

impl Details {
    fn message(self) -> pb::InvoiceDetails {
        let kind = match self.kind {
            Kind::VatOrdinary => pb::InvoiceKind::VatOrdinary,
            Kind::VatSpecial => pb::InvoiceKind::VatSpecial,
            Kind::ElectronicOrdinary => pb::InvoiceKind::ElectronicOrdinary,
        };
        pb::InvoiceDetails {
            kind: kind.into(),
            bank: self.bank,
            bank_account: self.bank_account,
            registered_address: self.registered_address,
            landline: self.landline,
        }
    }
}

impl Place {
    fn message(self, id: String) -> pb::DeliveryAddress {
        let Place { recipient, phone, email, postal } = self;
        pb::DeliveryAddress { id, recipient, phone, email, address: postal }
    }
}

/// Runs an act on profiles.
pub(super) async fn run(global: &Global, clients: &Clients, profile: Profile) -> Result<()> {
    let mut invoices = clients.invoices();
    match profile {
        Profile::Add { account, details, once } => {
            let request_id = once.id();
            let request = pb::CreateInvoiceProfileRequest {
                request_id: request_id.clone(),
                billing_account_id: clients.billing_account_id(&account).await?,
                details: Some(details.message()),
            };
            let of_act = |status| Failure::of_act(status, &request_id);
            let made = invoices.create_invoice_profile(request).await.map_err(of_act)?.into_inner();
            show(global, &present(made.profile, "profile")?)
        }
        Profile::Change { account, profile, details, once } => {
            let request_id = once.id();
            let request = pb::UpdateInvoiceProfileRequest {
                request_id: request_id.clone(),
                billing_account_id: clients.billing_account_id(&account).await?,
                profile_id: profile,
                details: Some(details.message()),
            };
            let of_act = |status| Failure::of_act(status, &request_id);
            let changed = invoices.update_invoice_profile(request).await.map_err(of_act)?.into_inner();
            show(global, &present(changed.profile, "profile")?)
        }
        Profile::List(Of { account, limit }) => {
            let account = &clients.billing_account_id(&account).await?;
            let listed = all_pages(limit.limit, |page_token| async move {
                let billing_account_id = account.clone();
                let request =
                    pb::ListInvoiceProfilesRequest { billing_account_id, page_size: PAGE_SIZE, page_token };
                let page = clients.invoices().list_invoice_profiles(request).await?.into_inner();
                Ok((page.profiles, page.next_page_token))
            });
            let listed = listed.await?;
            global.output().list(&profiles_table(&listed.rows), listed.more)
        }
        Profile::Delete { account, profile, once } => {
            let request_id = once.id();
            let request = pb::DeleteInvoiceProfileRequest {
                request_id: request_id.clone(),
                billing_account_id: clients.billing_account_id(&account).await?,
                profile_id: profile.clone(),
            };
            let of_act = |status| Failure::of_act(status, &request_id);
            invoices.delete_invoice_profile(request).await.map_err(of_act)?;
            global.output().record(&Table::of_one(vec![("deleted", Cell::text(profile))]))
        }
    }
}

/// Runs an act on addresses.
pub(super) async fn run_address(global: &Global, clients: &Clients, address: Address) -> Result<()> {
    let mut invoices = clients.invoices();
    match address {
        Address::Add { account, place, once } => {
            let request_id = once.id();
            let request = pb::CreateDeliveryAddressRequest {
                request_id: request_id.clone(),
                billing_account_id: clients.billing_account_id(&account).await?,
                address: Some(place.message(String::new())),
            };
            let of_act = |status| Failure::of_act(status, &request_id);
            let made = invoices.create_delivery_address(request).await.map_err(of_act)?.into_inner();
            show_address(global, &present(made.address, "address")?)
        }
        Address::Change { account, address, place, once } => {
            let request_id = once.id();
            let request = pb::UpdateDeliveryAddressRequest {
                request_id: request_id.clone(),
                billing_account_id: clients.billing_account_id(&account).await?,
                address: Some(place.message(address)),
            };
            let of_act = |status| Failure::of_act(status, &request_id);
            let changed = invoices.update_delivery_address(request).await.map_err(of_act)?.into_inner();
            show_address(global, &present(changed.address, "address")?)
        }
        Address::List(Of { account, limit }) => {
            let account = &clients.billing_account_id(&account).await?;
            let listed = all_pages(limit.limit, |page_token| async move {
                let billing_account_id = account.clone();
                let request =
                    pb::ListDeliveryAddressesRequest { billing_account_id, page_size: PAGE_SIZE, page_token };
                let page = clients.invoices().list_delivery_addresses(request).await?.into_inner();
                Ok((page.addresses, page.next_page_token))
            });
            let listed = listed.await?;
            global.output().list(&addresses_table(&listed.rows), listed.more)
        }
        Address::Delete { account, address, once } => {
            let request_id = once.id();
            let request = pb::DeleteDeliveryAddressRequest {
                request_id: request_id.clone(),
                billing_account_id: clients.billing_account_id(&account).await?,
                address_id: address.clone(),
            };
            let of_act = |status| Failure::of_act(status, &request_id);
            invoices.delete_delivery_address(request).await.map_err(of_act)?;
            global.output().record(&Table::of_one(vec![("deleted", Cell::text(address))]))
        }
    }
}

fn show(global: &Global, profile: &pb::InvoiceProfile) -> Result<()> {
    global.output().record(&profiles_table(std::slice::from_ref(profile)))
}

fn show_address(global: &Global, address: &pb::DeliveryAddress) -> Result<()> {
    global.output().record(&addresses_table(std::slice::from_ref(address)))
}

fn profiles_table(profiles: &[pb::InvoiceProfile]) -> Table {
    let mut table = Table::new(&[
        "id",
        "title",
        "taxpayer_id",
        "kind",
        "bank",
        "bank_account",
        "registered_address",
        "landline",
    ]);
    for profile in profiles {
        let details = profile.details.clone().unwrap_or_default();
        table.row([
            Cell::text(&profile.id),
            Cell::text(&profile.title),
            Cell::text(&profile.taxpayer_id),
            Cell::name(details.kind().as_str_name(), "INVOICE_KIND_"),
            Cell::text(details.bank),
            Cell::text(details.bank_account),
            Cell::text(details.registered_address),
            Cell::text(details.landline),
        ]);
    }
    table
}

fn addresses_table(addresses: &[pb::DeliveryAddress]) -> Table {
    let mut table = Table::new(&["id", "recipient", "phone", "email", "address"]);
    for address in addresses {
        table.row([
            Cell::text(&address.id),
            Cell::text(&address.recipient),
            Cell::text(&address.phone),
            Cell::text(&address.email),
            Cell::text(&address.address),
        ]);
    }
    table
}
