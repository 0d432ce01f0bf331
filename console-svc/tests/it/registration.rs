//! Codes, accounts, sign-in.

use jiff::SignedDuration;
use tandem_proto::console::v1 as console;
use tandem_proto::console::v1::VerificationPurpose::{ChangePassword, Register};
use tandem_proto::reason::Reason;

use crate::harness::{ENGINES, Harness, PASSWORD, eventually, reason, register, request_id};

const EMAIL: &str = "Li@mail.example.com";

#[tokio::test]
async fn an_account_is_registered_once_and_found_again() {
    for engine in ENGINES {
        let h = Harness::start(engine).await;
        let code = h.code(Register, "cn1", EMAIL).await;
        let request = register("cn1", "li", EMAIL, &code);
        let mut registration = h.registration();
        assert_eq!(reason(registration.register_account(request.clone()).await), Reason::InvalidField);
        let request = console::RegisterAccountRequest { username: "li.wei".into(), ..request };
        let account =
            registration.register_account(request.clone()).await.unwrap().into_inner().account.unwrap();
        assert_eq!((account.email.as_str(), account.stage), (EMAIL, 1));
        // The same call again is the same account, although the code is used up.
        let again =
            registration.register_account(request.clone()).await.unwrap().into_inner().account.unwrap();
        assert_eq!(again, account);
        let other = console::RegisterAccountRequest { username: "other".into(), ..request };
        assert_eq!(reason(registration.register_account(other).await), Reason::RequestIdReused);
        let look = console::LookUpAccountRequest { site: "cn1".into(), email: EMAIL.to_uppercase() };
        let found = h.accounts().look_up_account(look).await.unwrap().into_inner().account.unwrap();
        assert_eq!(found.id, account.id);
        let elsewhere = console::LookUpAccountRequest { site: "cn2".into(), email: EMAIL.into() };
        assert_eq!(reason(h.accounts().look_up_account(elsewhere).await), Reason::ObjectNotFound);
        // The mail left as one file, with the brand's name.
        eventually(async || {
            std::fs::read_dir(&h.mail)
                .unwrap()
                .filter(|e| !e.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'))
                .count()
                == 1
        })
        .await;
        h.stop().await;
    }
}

#[tokio::test]
async fn each_refusal_has_its_own_reason_and_leaves_nothing() {
    for engine in ENGINES {
        let h = Harness::start(engine).await;
        let mut registration = h.registration();
        let code = h.code(Register, "cn1", EMAIL).await;
        let good = register("cn1", "liwei", EMAIL, &code);
        let wrong = if code == "000000" { "000001" } else { "000000" };
        let fresh = || request_id();
        let cases = [
            (
                console::RegisterAccountRequest { email_code: wrong.into(), ..good.clone() },
                Reason::CodeInvalid,
            ),
            (
                console::RegisterAccountRequest { agreements_accepted: false, ..good.clone() },
                Reason::AgreementMissing,
            ),
            (console::RegisterAccountRequest { site: "xx1".into(), ..good.clone() }, Reason::SiteNotFound),
            (console::RegisterAccountRequest { site: "cn2".into(), ..good.clone() }, Reason::CodeInvalid),
            (
                console::RegisterAccountRequest { email: "other@mail.example.com".into(), ..good.clone() },
                Reason::CodeInvalid,
            ),
            (
                console::RegisterAccountRequest { password: "weak".into(), ..good.clone() },
                Reason::InvalidField,
            ),
            (console::RegisterAccountRequest { phone: "x".into(), ..good.clone() }, Reason::InvalidField),
            (console::RegisterAccountRequest { company: None, ..good.clone() }, Reason::InvalidField),
        ];
        for (request, expected) in cases {
            let request = console::RegisterAccountRequest { request_id: fresh(), ..request };
            assert_eq!(reason(registration.register_account(request.clone()).await), expected, "{request:?}");
        }
        assert_eq!(h.count("console_account").await, 0);
        registration.register_account(good).await.unwrap();
        let soon = console::SendVerificationCodeRequest {
            request_id: fresh(),
            purpose: Register.into(),
            site: "cn1".into(),
            email: EMAIL.to_lowercase(),
            language: 1,
        };
        assert_eq!(reason(registration.send_verification_code(soon).await), Reason::CodeTooSoon);
        h.clock.advance_by(SignedDuration::from_secs(61));
        let code = h.code(Register, "cn1", "li@MAIL.example.com").await;
        let taken = register("cn1", "another", "li@MAIL.example.com", &code);
        assert_eq!(reason(registration.register_account(taken).await), Reason::EmailTaken);
        // The same address on another site is another account.
        let code = h.code(Register, "us1", EMAIL).await;
        registration.register_account(register("us1", "liwei", EMAIL, &code)).await.unwrap();
        h.stop().await;
    }
}

#[tokio::test]
async fn passwords_can_be_tried_ten_times_an_hour_and_changed_by_code() {
    for engine in ENGINES {
        let h = Harness::start(engine).await;
        let account = h.account("cn1", "wang").await;
        let sign_in = async |password: &str| {
            let request = console::SignInRequest {
                site: "cn1".into(),
                email: account.email.to_uppercase(),
                password: password.to_owned(),
            };
            h.accounts().sign_in(request).await
        };
        assert_eq!(sign_in(PASSWORD).await.unwrap().into_inner().account.unwrap().id, account.id);
        for _ in 0..10 {
            assert_eq!(reason(sign_in("wrong").await), Reason::SignInFailed);
        }
        assert_eq!(reason(sign_in(PASSWORD).await), Reason::TooManyTries);
        h.clock.advance_by(SignedDuration::from_secs(3601));
        sign_in(PASSWORD).await.unwrap();

        let code = h.code(ChangePassword, "cn1", &account.email).await;
        let change = console::ChangePasswordRequest {
            request_id: request_id(),
            console_account_id: account.id.clone(),
            email_code: code,
            new_password: "Another-Horse-2".into(),
        };
        h.accounts().change_password(change.clone()).await.unwrap();
        h.accounts().change_password(change.clone()).await.unwrap();
        let reused = console::ChangePasswordRequest { request_id: request_id(), ..change };
        assert_eq!(reason(h.accounts().change_password(reused).await), Reason::CodeInvalid);
        assert_eq!(reason(sign_in(PASSWORD).await), Reason::SignInFailed);
        sign_in("Another-Horse-2").await.unwrap();
        // An unknown address costs the same and is told the same.
        let unknown = console::SignInRequest {
            site: "cn1".into(),
            email: "no@mail.example.com".into(),
            password: "x".into(),
        };
        assert_eq!(reason(h.accounts().sign_in(unknown).await), Reason::SignInFailed);
        h.stop().await;
    }
}

#[tokio::test]
async fn sites_are_listed_by_code_page_by_page() {
    for engine in ENGINES {
        let h = Harness::start(engine).await;
        let (mut codes, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = console::ListSitesRequest { page_size: 4, page_token };
            let answer = h.accounts().list_sites(request).await.unwrap().into_inner();
            codes.extend(answer.sites.into_iter().map(|site| site.code));
            page_token = answer.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(codes, ["ap1", "cn1", "cn2", "cn4", "cn6", "eu1", "id1", "us1", "za1"]);
        h.stop().await;
    }
}
