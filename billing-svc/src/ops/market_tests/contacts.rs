//! Changing how an account is reached and signs in: two codes, one address each (3.10).

use jiff::SignedDuration;
use tandem_proto::billing::v1::account_service_server::AccountService as _;
use tandem_proto::billing::v1::send_contact_code_request::To;
use tandem_service_kit::sms::Sms;

use super::*;
use crate::grpc::account::Service;

const EMAIL: pb::ContactKind = pb::ContactKind::Email;
const PHONE: pb::ContactKind = pb::ContactKind::Phone;

impl Market {
    fn account_service(&self) -> Service {
        Service(self.context())
    }

    async fn send_code(
        &self,
        account: &BillingAccountId,
        to: To,
        proof: Option<pb::ContactProof>,
    ) -> Result<Response<pb::SendContactCodeResponse>, Status> {
        let request = pb::SendContactCodeRequest {
            request_id: request_id(),
            billing_account_id: account.as_str().into(),
            language: common::Language::En.into(),
            to: Some(to),
            proof,
        };
        self.account_service().send_contact_code(by_caller(request)).await
    }

    /// The code in the last mail to an address.
    async fn mailed(&self, to: &str) -> String {
        let mails = self.mails().await;
        let mail = mails.iter().rev().find(|mail| mail.to == to).unwrap();
        mail.subject.rsplit(' ').next().unwrap().to_owned()
    }

    /// The text messages in the outbox: number and code.
    async fn texted(&self) -> Vec<(String, String)> {
        let rows =
            read::all(&self.db.read, "SELECT payload FROM outbox WHERE topic = 'sms' ORDER BY id", []).await;
        let sms = |row: &sea_orm::QueryResult| {
            let sms: Sms = serde_json::from_slice(&row.try_get::<Vec<u8>>("", "payload").unwrap()).unwrap();
            let code = sms.text.split(|c: char| !c.is_ascii_digit()).find(|part| part.len() == 6).unwrap();
            (sms.to, code.to_owned())
        };
        rows.unwrap().iter().map(sms).collect()
    }

    async fn first_step(&self, account: &BillingAccountId, name: &str) -> pb::ContactProof {
        self.pass(SignedDuration::from_secs(61));
        self.send_code(account, To::Present(EMAIL.into()), None).await.unwrap();
        pb::ContactProof { contact: EMAIL.into(), code: self.mailed(&format!("{name}@acme.test")).await }
    }

    async fn change_email(
        &self,
        account: &BillingAccountId,
        proof: &pb::ContactProof,
        new: &str,
        code: &str,
    ) -> Result<Response<pb::ChangeEmailResponse>, Status> {
        let request = pb::ChangeEmailRequest {
            request_id: request_id(),
            billing_account_id: account.as_str().into(),
            proof: Some(proof.clone()),
            new_email: new.to_owned(),
            code: code.to_owned(),
        };
        self.account_service().change_email(by_caller(request)).await
    }

    async fn sign_in_as(&self, name: &str, password: &str) -> Result<Response<pb::SignInResponse>, Status> {
        let request = pb::SignInRequest {
            region: common::BillingRegion::Domestic.into(),
            login_name: name.to_owned(),
            password: password.to_owned(),
        };
        self.account_service().sign_in(by_caller(request)).await
    }

    async fn change_password(
        &self,
        username: &str,
        proof: pb::change_password_request::Proof,
        new: &str,
    ) -> Result<Response<pb::ChangePasswordResponse>, Status> {
        let request = pb::ChangePasswordRequest {
            request_id: request_id(),
            region: common::BillingRegion::Domestic.into(),
            username: username.to_owned(),
            proof: Some(proof),
            new_password: new.to_owned(),
        };
        self.account_service().change_password(by_caller(request)).await
    }
}

#[tokio::test]
async fn two_codes_change_the_address_and_it_is_the_login_name_at_once() {
    for market in both("email").await {
        let li = market.account("li").await;
        let proof = market.first_step(&li, "li").await;
        let new = "Li.New@acme.test";
        let sent = market.send_code(&li, To::NewEmail(new.into()), Some(proof.clone())).await.unwrap();
        assert_eq!(sent.into_inner().valid_seconds, 600);
        let code = market.mailed(new).await;
        assert_ne!(code, proof.code);
        // The codes cannot be swapped, nor used for another address.
        let swapped = pb::ContactProof { code: code.clone(), ..proof.clone() };
        assert_eq!(refusal(market.change_email(&li, &swapped, new, &proof.code).await), Reason::CodeInvalid);
        assert_eq!(
            refusal(market.change_email(&li, &proof, "x@acme.test", &code).await),
            Reason::CodeInvalid
        );
        let request = pb::ChangeEmailRequest {
            request_id: request_id(),
            billing_account_id: li.as_str().into(),
            proof: Some(proof.clone()),
            new_email: new.into(),
            code: code.clone(),
        };
        let service = market.account_service();
        let first = service.change_email(by_caller(request.clone())).await.unwrap().into_inner();
        let again = service.change_email(by_caller(request)).await.unwrap().into_inner();
        assert_eq!(bytes(&first), bytes(&again));
        let account = first.account.unwrap();
        assert_eq!((account.email.as_str(), account.username.as_str()), (new, "li"));
        let found = async |name: &str| {
            let domestic = tandem_proto::settlement::BillingRegion::Domestic;
            let found = crate::store::account::find_login(&market.db.read, domestic, name).await.unwrap();
            found.map(|(account, _)| account.id)
        };
        assert_eq!(found("li.new@acme.test").await, Some(li.clone()));
        assert_eq!(found("li@acme.test").await, None);
        assert_eq!(found("li").await, Some(li.clone()), "the username never changes");
        // Who had the old address is told.
        let told = market.mails().await.into_iter().rev().find(|m| m.to == "li@acme.test").unwrap();
        assert!(told.subject.contains("was changed"), "{}", told.subject);
        // The codes are used up.
        assert_eq!(refusal(market.change_email(&li, &proof, new, &code).await), Reason::CodeInvalid);
    }
}

#[tokio::test]
async fn the_first_step_lasts_ten_minutes_and_comes_first() {
    for market in both("email_late").await {
        let li = market.account("li").await;
        let new = || To::NewEmail("new@acme.test".into());
        assert_eq!(refusal(market.send_code(&li, new(), None).await), Reason::InvalidField);
        let wrong = pb::ContactProof { contact: EMAIL.into(), code: "no".into() };
        assert_eq!(refusal(market.send_code(&li, new(), Some(wrong)).await), Reason::CodeInvalid);
        let proof = market.first_step(&li, "li").await;
        market.pass(SignedDuration::from_secs(599));
        market.send_code(&li, new(), Some(proof.clone())).await.unwrap();
        let code = market.mailed("new@acme.test").await;
        market.pass(SignedDuration::from_secs(1));
        // The second code is fresh, but the first one is too old.
        let late = market.change_email(&li, &proof, "new@acme.test", &code).await;
        assert_eq!(refusal(late), Reason::CodeInvalid);
        let nobody: BillingAccountId = fresh();
        let lost = market.send_code(&nobody, To::Present(EMAIL.into()), None).await;
        assert_eq!(refusal(lost), Reason::ObjectNotFound);
        // Five wrong guesses use a code up, although each call is refused.
        let proof = market.first_step(&li, "li").await;
        let guess = pb::ContactProof { contact: EMAIL.into(), code: "x".into() };
        for _ in 0..5 {
            let guessed = market.send_code(&li, new(), Some(guess.clone())).await;
            assert_eq!(refusal(guessed), Reason::CodeInvalid);
        }
        assert_eq!(refusal(market.send_code(&li, new(), Some(proof)).await), Reason::CodeInvalid);
    }
}

#[tokio::test]
async fn what_another_account_has_is_refused() {
    for market in both("email_taken").await {
        let (li, wang) = (market.account("li").await, market.account("wang").await);
        market
            .run("UPDATE billing_account SET phone = '+8613800000001' WHERE id = ?", [wang.as_str().into()])
            .await;
        let proof = market.first_step(&li, "li").await;
        let taken = market.send_code(&li, To::NewEmail("WANG@acme.test".into()), Some(proof.clone())).await;
        assert_eq!(refusal(taken), Reason::EmailTaken);
        let own = market.send_code(&li, To::NewEmail("li@acme.test".into()), Some(proof.clone())).await;
        assert_eq!(refusal(own), Reason::EmailTaken);
        let phone = To::NewPhone("+86 138-0000-0001".into());
        assert_eq!(refusal(market.send_code(&li, phone, Some(proof.clone())).await), Reason::PhoneTaken);
        let bad = To::NewEmail("no address".into());
        assert_eq!(refusal(market.send_code(&li, bad, Some(proof.clone())).await), Reason::InvalidField);
        // Somebody else takes it between the second code and the change.
        market.send_code(&li, To::NewEmail("new@acme.test".into()), Some(proof.clone())).await.unwrap();
        let code = market.mailed("new@acme.test").await;
        let steal =
            "UPDATE billing_account SET email = 'new@acme.test', email_key = 'new@acme.test' WHERE id = ?";
        market.run(steal, [wang.as_str().into()]).await;
        let late = market.change_email(&li, &proof, "new@acme.test", &code).await;
        assert_eq!(refusal(late), Reason::EmailTaken);
    }
}

#[tokio::test]
async fn a_phone_is_proved_by_text_message() {
    for market in both("phone").await {
        let li = market.account("li").await;
        let none = market.send_code(&li, To::Present(PHONE.into()), None).await;
        assert_eq!(refusal(none), Reason::InvalidField);
        let proof = market.first_step(&li, "li").await;
        let new = "+86 138-0000-0009";
        market.send_code(&li, To::NewPhone(new.into()), Some(proof.clone())).await.unwrap();
        let (number, code) = market.texted().await.pop().unwrap();
        assert_eq!(number, "+8613800000009");
        let request = pb::ChangePhoneRequest {
            request_id: request_id(),
            billing_account_id: li.as_str().into(),
            proof: Some(proof),
            new_phone: new.into(),
            code,
        };
        let changed = market.account_service().change_phone(by_caller(request)).await.unwrap().into_inner();
        assert_eq!(changed.account.unwrap().phone, "+8613800000009");
        // From now on the phone proves as well as the address.
        market.pass(SignedDuration::from_secs(61));
        market.send_code(&li, To::Present(PHONE.into()), None).await.unwrap();
        let (_, code) = market.texted().await.pop().unwrap();
        let proof = pb::ContactProof { contact: PHONE.into(), code };
        market.send_code(&li, To::NewEmail("new@acme.test".into()), Some(proof.clone())).await.unwrap();
        let code = market.mailed("new@acme.test").await;
        market.change_email(&li, &proof, "new@acme.test", &code).await.unwrap();
    }
}

#[tokio::test]
async fn a_password_is_changed_by_itself_or_by_a_code() {
    use pb::change_password_request::Proof;
    for market in both("password").await {
        let account = pb::NewAccount {
            first_password: Some(pb::new_account::FirstPassword::Password("Secret-123".to_owned())),
            ..new_account("alice")
        };
        let create = pb::CreateAccountRequest { request_id: request_id(), account: Some(account) };
        market.account_service().create_account(by_caller(create)).await.unwrap();
        let current = |password: &str| Proof::CurrentPassword(password.to_owned());
        let wrong = market.change_password("alice", current("Wrong-1234"), "Other-123").await;
        assert_eq!(refusal(wrong), Reason::SignInFailed);
        let unknown = market.change_password("nobody", current("Secret-123"), "Other-123").await;
        assert_eq!(refusal(unknown), Reason::SignInFailed);
        let weak = market.change_password("alice", current("Secret-123"), "weak").await;
        assert_eq!(refusal(weak), Reason::InvalidField);
        market.change_password("alice", current("Secret-123"), "Other-123").await.unwrap();
        assert_eq!(refusal(market.sign_in_as("alice", "Secret-123").await), Reason::SignInFailed);
        assert!(market.sign_in_as("alice", "Other-123").await.is_ok());

        market.pass(SignedDuration::from_secs(1));
        // Forgotten, and locked by somebody's guesses: the code helps at once.
        for _ in 0..10 {
            assert!(market.sign_in_as("alice", "Guess-1234").await.is_err());
        }
        assert_eq!(refusal(market.sign_in_as("alice", "Other-123").await), Reason::TooManyTries);
        let send = |purpose: pb::VerificationPurpose| pb::SendVerificationCodeRequest {
            request_id: request_id(),
            region: common::BillingRegion::Domestic.into(),
            username: "alice".to_owned(),
            language: common::Language::En.into(),
            purpose: purpose.into(),
        };
        let service = market.account_service();
        service.send_verification_code(by_caller(send(pb::VerificationPurpose::Unspecified))).await.unwrap();
        let other = market.mailed("alice@acme.test").await;
        let refused = market.change_password("alice", Proof::Code(other), "Third-123").await;
        assert_eq!(refusal(refused), Reason::CodeInvalid, "a code is good for its purpose only");
        service
            .send_verification_code(by_caller(send(pb::VerificationPurpose::ChangePassword)))
            .await
            .unwrap();
        let code = market.mailed("alice@acme.test").await;
        market.change_password("alice", Proof::Code(code.clone()), "Third-123").await.unwrap();
        assert!(market.sign_in_as("alice", "Third-123").await.is_ok());
        let twice = market.change_password("alice", Proof::Code(code), "Fourth-123").await;
        assert_eq!(refusal(twice), Reason::CodeInvalid);
        let told =
            market.mails().await.into_iter().filter(|m| m.subject.contains("password of account")).count();
        assert_eq!(told, 2);
    }
}
