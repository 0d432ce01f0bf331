//! Accounts, sign-in and codes.

use tandem_proto::billing::v1::account_service_server::AccountService as _;

use super::*;
use crate::grpc::account::Service;

impl Market {
    fn accounts(&self) -> Service {
        Service(self.context())
    }

    async fn create(&self, account: pb::NewAccount) -> Result<Response<pb::CreateAccountResponse>, Status> {
        let request = pb::CreateAccountRequest { request_id: request_id(), account: Some(account) };
        self.accounts().create_account(by_caller(request)).await
    }

    async fn sign_in(
        &self,
        login_name: &str,
        password: &str,
    ) -> Result<Response<pb::SignInResponse>, Status> {
        let request = pb::SignInRequest {
            region: common::BillingRegion::Domestic.into(),
            login_name: login_name.to_owned(),
            password: password.to_owned(),
        };
        self.accounts().sign_in(by_caller(request)).await
    }
}

#[tokio::test]
async fn names_are_unique_in_a_region_and_the_first_that_is_taken_is_told() {
    for market in both("names").await {
        let alice = pb::NewAccount { phone: "+86 138-0000-0000".to_owned(), ..new_account("alice") };
        market.create(alice.clone()).await.unwrap();
        let other = new_account("bob");
        let taken = |account| async { refusal(market.create(account).await) };
        assert_eq!(
            taken(pb::NewAccount { username: "ALICE".into(), ..other.clone() }).await,
            Reason::UsernameTaken
        );
        assert_eq!(
            taken(pb::NewAccount { email: "Alice@acme.test".into(), ..other.clone() }).await,
            Reason::EmailTaken
        );
        assert_eq!(
            taken(pb::NewAccount { phone: "+8613800000000".into(), ..other.clone() }).await,
            Reason::PhoneTaken
        );
        assert_eq!(taken(alice.clone()).await, Reason::UsernameTaken);
        let abroad = pb::NewAccount { region: common::BillingRegion::International.into(), ..alice };
        let made = market.create(abroad).await.unwrap().into_inner().account.unwrap();
        assert_eq!(made.currency_code, "USD");
        for bad in [
            pb::NewAccount { username: "1x".into(), ..other.clone() },
            pb::NewAccount { email: "nobody".into(), ..other.clone() },
            pb::NewAccount { company: None, ..other.clone() },
            pb::NewAccount { first_password: None, ..other.clone() },
            pb::NewAccount {
                first_password: Some(pb::new_account::FirstPassword::Password("short".into())),
                ..other.clone()
            },
        ] {
            assert_eq!(taken(bad).await, Reason::InvalidField);
        }
        assert_eq!(market.count("billing_account").await, 2);
        assert_eq!(market.mails().await.len(), 2, "each is welcomed once");
    }
}

#[tokio::test]
async fn signing_in_works_by_each_name_and_ten_failures_are_enough() {
    for market in both("sign_in").await {
        let password = Some(pb::new_account::FirstPassword::Password("Secret-123".to_owned()));
        let account = pb::NewAccount {
            phone: "+8613800000000".into(),
            first_password: password,
            ..new_account("alice")
        };
        let request = pb::CreateAccountRequest { request_id: request_id(), account: Some(account) };
        let first = market.accounts().create_account(by_caller(request.clone())).await.unwrap().into_inner();
        let again = market.accounts().create_account(by_caller(request)).await.unwrap().into_inner();
        assert_eq!(bytes(&first), bytes(&again), "a repetition gets the first answer");
        for name in ["alice", " Alice ", "ALICE@acme.test", "+86 138 0000 0000"] {
            assert!(market.sign_in(name, "Secret-123").await.is_ok(), "{name}");
        }
        assert_eq!(refusal(market.sign_in("nobody", "Secret-123").await), Reason::SignInFailed);
        for name in ["alice", "alice@acme.test"] {
            for _ in 0..5 {
                assert_eq!(refusal(market.sign_in(name, "Secret-124").await), Reason::SignInFailed);
            }
        }
        assert_eq!(refusal(market.sign_in("alice", "Secret-123").await), Reason::TooManyTries);
        market.pass(jiff::SignedDuration::from_mins(61));
        assert!(market.sign_in("alice", "Secret-123").await.is_ok());
        assert_eq!(
            market.bench.number("SELECT COUNT(*) FROM failed_try WHERE subject LIKE '%bac_%'").await,
            0
        );
    }
}

#[tokio::test]
async fn codes_for_unknown_usernames_answer_alike_and_mail_nothing() {
    for market in both("codes").await {
        market.create(new_account("alice")).await.unwrap();
        let mails = market.mails().await.len();
        for username in ["alice", "nobody"] {
            let request = || pb::SendVerificationCodeRequest {
                request_id: request_id(),
                region: common::BillingRegion::Domestic.into(),
                username: username.to_owned(),
                language: common::Language::Zh.into(),
                ..Default::default()
            };
            let sent =
                market.accounts().send_verification_code(by_caller(request())).await.unwrap().into_inner();
            assert_eq!(sent.valid_seconds, 600);
            let soon = market.accounts().send_verification_code(by_caller(request())).await;
            assert_eq!(refusal(soon), Reason::CodeTooSoon, "{username}");
        }
        assert_eq!(market.mails().await.len(), mails + 1);
        assert!(market.mails().await.last().unwrap().subject.contains("验证码"));
    }
}

#[tokio::test]
async fn the_switch_is_set_for_an_account_that_exists() {
    for market in both("switch").await {
        let id = market.create(new_account("alice")).await.unwrap().into_inner().account.unwrap().id;
        let set = |id: String| pb::SetAnySettlementRequest {
            request_id: request_id(),
            billing_account_id: id,
            allowed: true,
        };
        let set_to = market.accounts().set_any_settlement(by_caller(set(id))).await.unwrap().into_inner();
        assert!(set_to.account.unwrap().any_settlement_allowed);
        let nobody: BillingAccountId = fresh();
        let refused = market.accounts().set_any_settlement(by_caller(set(nobody.into()))).await;
        assert_eq!(refusal(refused), Reason::ObjectNotFound);
    }
}
