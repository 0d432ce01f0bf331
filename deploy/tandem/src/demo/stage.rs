//! What the stories are played on: the services as each caller sees them, the sandbox cloud, the mailbox, the clock.

use std::cell::{Cell as Counter, RefCell};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tandem_proto::common::v1::Role;
use tandem_proto::console::v1::ListSitesRequest;
use tandem_proto::day::{UsageDay, zone};
use tandem_proto::reason::Reason;
use tandem_proto::vendor::Vendor;
use tandem_service_kit::fresh;

use super::mailbox::{Mail, Mailbox};
use super::teller::Teller;
use crate::client::http::SandboxClient;
use crate::client::{Bearer, Clients};
use crate::commands::clock;
use crate::data_dir::{DataDir, Endpoints};
use crate::failure::{Attempt as _, Failure, Result};
use crate::output::Output;
use crate::up::market::Market;

/// How long anything may take before the demo gives up; what it waits for takes a second, on a crowded machine some more.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// After this long without success the business clock is moved a little: a vendor takes one call a minute for a purchase.
const NUDGE_AFTER: Duration = Duration::from_millis(1_500);
/// How far it is moved then.
const NUDGE: SignedDuration = SignedDuration::from_secs(61);

/// One letter for each digit: a suffix with digits could be taken for a mailed code.
const LETTERS: &str = "abcdefghij";

/// Makes a suffix that no earlier demo had.
pub fn new_suffix() -> String {
    let letters = fresh::random_digits(6);
    let letter = |digit: char| digit.to_digit(10).and_then(|d| LETTERS.chars().nth(usize::try_from(d).ok()?));
    format!("_{}", letters.chars().filter_map(letter).collect::<String>())
}

/// The stage.
pub struct Stage {
    /// The services as the operator calls them.
    pub operator: Clients,
    /// The services as the second operator calls them.
    pub approver: Clients,
    /// The services as the customers' pages call them.
    pub portal: Clients,
    /// The services as the counter of usage calls them.
    pub source: Clients,
    /// The cloud.
    pub sandbox: SandboxClient,
    /// Which cloud.
    pub vendor: Vendor,
    /// The narrator.
    pub teller: Teller,
    /// Set behind names, so that the demo can be played twice on one system; empty on a fresh one.
    pub suffix: String,
    mailbox: RefCell<Mailbox>,
    mails: RefCell<Vec<Mail>>,
    requests: Counter<u32>,
}

impl Stage {
    /// Sets the stage on a running system.
    ///
    /// Fails when its clock cannot be moved.
    pub async fn set(data: &DataDir, endpoints: &Endpoints, output: Output, suffix: String) -> Result<Stage> {
        let operator = Clients::new(endpoints, Bearer::signed(data.signer(Role::Operator)?))?;
        let stage = Stage {
            approver: operator.called_by(Bearer::signed(data.approver()?)),
            portal: operator.called_by(Bearer::signed(data.signer(Role::Portal)?)),
            source: operator.called_by(Bearer::signed(data.signer(Role::UsageSource)?)),
            operator,
            sandbox: SandboxClient::new(&endpoints.sandbox),
            vendor: Market::shipped()?.vendor()?,
            teller: Teller::new(output),
            suffix,
            mailbox: RefCell::new(Mailbox::open(data.mail())?),
            mails: RefCell::default(),
            requests: Counter::new(0),
        };
        stage.now().await?;
        Ok(stage)
    }

    /// An id for the next act.
    pub fn request_id(&self) -> String {
        self.requests.set(self.requests.get() + 1);
        format!("demo{}-{}", self.suffix, self.requests.get())
    }

    /// Six digits that belong to the suffix, for numbers that have to differ.
    pub fn digits(&self) -> String {
        let digits: String =
            self.suffix.chars().filter_map(|letter| LETTERS.find(letter)).map(|d| d.to_string()).collect();
        format!("{digits:0>6}")
    }

    /// The business time.
    pub async fn now(&self) -> Result<Timestamp> {
        clock::now(&self.operator).await
    }

    /// Moves the business clock to an instant and says so.
    pub async fn move_to(&self, instant: Timestamp, local: &str) -> Result<()> {
        self.teller.tell(&format!("— the clock moves to {local} —"))?;
        clock::advance(&self.operator, instant, &self.request_id()).await?;
        Ok(())
    }

    /// Moves the business clock to an hour and minute of a calendar's day.
    pub async fn arrive(&self, calendar: &Calendar, day: u32, hour: u32, minute: u32) -> Result<()> {
        let (instant, local) = calendar.at(day, hour, minute);
        self.move_to(instant, &local).await
    }

    /// Moves the business clock by a span.
    pub async fn pass(&self, span: SignedDuration) -> Result<()> {
        let to = self.now().await?.checked_add(span).attempt(|| "moving the clock".to_owned())?;
        clock::advance(&self.operator, to, &self.request_id()).await?;
        Ok(())
    }

    /// Tells a refusal; fails when there was none, or not the expected one.
    pub fn refused<T>(&self, result: Result<T>, expected: Option<Reason>) -> Result<()> {
        match result {
            Ok(_) => Err(Failure::Proof("what had to be refused was taken".to_owned())),
            Err(failure) => match failure.reason() {
                Some(reason) if expected.is_none_or(|expected| expected == reason) => {
                    self.teller.tell(&format!("refused: {} — {}", reason.name(), reason.meaning()))
                }
                _ => Err(failure),
            },
        }
    }

    /// Waits until something is there, looking again and again.
    ///
    /// Fails when it does not come.
    pub async fn until<T>(&self, what: &str, look: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
        let start = Instant::now();
        let mut nudged = start;
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            if start.elapsed() > PATIENCE {
                return Err(Failure::failed(format!("the demo waited {} s for {what}", PATIENCE.as_secs())));
            }
            if nudged.elapsed() > NUDGE_AFTER {
                self.pass(NUDGE).await?;
                nudged = Instant::now();
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The next code that is mailed to an address.
    pub async fn code_for(&self, address: &str) -> Result<String> {
        self.until("a mail with a code", async || {
            self.collect()?;
            let mut mails = self.mails.borrow_mut();
            let place = mails.iter().position(|mail| mail.to == address && mail.code().is_some());
            let Some(place) = place else { return Ok(None) };
            let mail = mails.remove(place);
            self.teller
                .tell(&format!("a mail for {address} holds the code {}", mail.code().unwrap_or_default()))?;
            Ok(mail.code().map(str::to_owned))
        })
        .await
    }

    /// Waits until each of these addresses has a mail that says `words`, then takes all mails that have come.
    pub async fn mails_about(&self, what: &str, words: &str, addresses: &[&str]) -> Result<Vec<Mail>> {
        self.until(what, async || {
            self.collect()?;
            let mails = self.mails.borrow();
            let has =
                |address: &&str| mails.iter().any(|mail| mail.to == **address && mail.body.contains(words));
            Ok(addresses.iter().all(has).then_some(()))
        })
        .await?;
        Ok(self.mails.take())
    }

    /// Takes the mails that are there, without waiting.
    pub fn mails_now(&self) -> Result<Vec<Mail>> {
        self.collect()?;
        Ok(self.mails.take())
    }

    fn collect(&self) -> Result<()> {
        let new = self.mailbox.borrow_mut().unseen()?;
        self.mails.borrow_mut().extend(new);
        Ok(())
    }

    /// A site's calendar.
    pub async fn calendar(&self, site: &str) -> Result<Calendar> {
        let request = ListSitesRequest { page_size: 500, page_token: String::new() };
        let sites = self.portal.console_accounts().list_sites(request).await?.into_inner().sites;
        let found = sites.into_iter().find(|known| known.code == site);
        let found = found.ok_or_else(|| Failure::failed(format!("there is no site {site}")))?;
        let zone =
            zone(&found.time_zone).ok_or_else(|| Failure::failed(format!("unknown zone of {site}")))?;
        let today = UsageDay::of(self.now().await?, &zone);
        Ok(Calendar { zone, zone_name: found.time_zone, first: today.next() })
    }
}

/// The days of the demo in its sites' zone.
pub struct Calendar {
    zone: jiff::tz::TimeZone,
    zone_name: String,
    first: UsageDay,
}

impl Calendar {
    /// The demo's day of this number; day 1 is the first whole one.
    pub fn day(&self, number: u32) -> UsageDay {
        (1..number).fold(self.first, |day, _| day.next())
    }

    /// The start of an hour of a day.
    pub fn hour(&self, number: u32, hour: u32) -> Timestamp {
        self.at(number, hour, 0).0
    }

    /// An instant of a day, and how a clock on the wall there shows it.
    pub fn at(&self, number: u32, hour: u32, minute: u32) -> (Timestamp, String) {
        let day = self.day(number);
        let since_midnight = SignedDuration::from_mins(i64::from(hour) * 60 + i64::from(minute));
        let instant = day.start(&self.zone).saturating_add(since_midnight).unwrap_or(Timestamp::MAX);
        (instant, format!("{day} {hour:02}:{minute:02} {}", self.zone_name))
    }
}
