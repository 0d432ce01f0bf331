use serde_json::json;

use super::*;

fn now() -> Timestamp {
    "2026-03-01T00:00:00Z".parse().unwrap()
}

fn pair() -> (Signer, Verifier) {
    let key = SigningKey::generate().unwrap();
    let mut verifier = Verifier::new("billing");
    verifier.register("console", Role::Console, &key.public_key()).unwrap();
    (Signer::new("console", Role::Console, key), verifier)
}

fn raw(key: &SigningKey, header: serde_json::Value, claims: serde_json::Value) -> String {
    sign(key, &encode(&header), &encode(&claims))
}

fn claims() -> serde_json::Value {
    let now = now().as_second();
    json!({"sub": "console", "role": "console", "aud": "billing", "iat": now, "exp": now + 300})
}

fn header() -> serde_json::Value {
    json!({"alg": "EdDSA", "kid": "console"})
}

#[test]
fn a_genuine_token_names_its_caller() {
    let (signer, verifier) = pair();
    let caller = Caller { name: "console".to_owned(), role: Role::Console };
    for audiences in [&["billing"][..], &["gateway", "billing"]] {
        let token = signer.token(audiences, Role::Console, 300, now());
        assert_eq!(verifier.verify_at(&token, now()), Ok(caller.clone()));
    }
    assert_eq!(verifier.verify(&signer.token_now(&["billing"])), Ok(caller.clone()));
    assert_eq!(verifier.verify_at(&raw(&signer.key, header(), claims()), now()), Ok(caller));
}

#[test]
fn forged_tokens_are_refused() {
    let (signer, verifier) = pair();
    let refused = |token: &str| verifier.verify_at(token, now()).unwrap_err();
    let token = signer.token(&["billing"], Role::Console, 300, now());
    let (signed, signature) = token.rsplit_once('.').unwrap();

    let other = SigningKey::generate().unwrap();
    assert_eq!(refused(&raw(&other, header(), claims())), TokenError::Signature);
    for alg in ["none", "None", "HS256", "RS256", "eddsa", ""] {
        let token = raw(&signer.key, json!({"alg": alg, "kid": "console"}), claims());
        assert_eq!(refused(&token), TokenError::Algorithm, "{alg}");
    }
    // HS256 with the public key as its secret: the classic confusion.
    let public = STANDARD.decode(signer.key.public_key()).unwrap();
    let hs256 = format!("{}.{}", encode(&json!({"alg": "HS256", "kid": "console"})), encode(&claims()));
    let mac = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &public), hs256.as_bytes());
    assert_eq!(refused(&format!("{hs256}.{}", URL_SAFE_NO_PAD.encode(mac))), TokenError::Algorithm);

    assert_eq!(refused(&format!("{signed}.")), TokenError::Signature);
    assert_eq!(refused(signed), TokenError::Malformed);
    assert_eq!(
        refused(&raw(&signer.key, json!({"alg": "EdDSA", "kid": "x"}), claims())),
        TokenError::UnknownCaller
    );
    let critical = json!({"alg": "EdDSA", "kid": "console", "crit": ["b64"]});
    assert_eq!(refused(&raw(&signer.key, critical, claims())), TokenError::Malformed);
    for text in ["", ".", "..", "a.b.c", &"x".repeat(5000)] {
        assert_eq!(refused(text), TokenError::Malformed, "{text}");
    }
    let mut bytes = signature.as_bytes().to_vec();
    bytes[10] = if bytes[10] == b'A' { b'B' } else { b'A' };
    assert_eq!(refused(&format!("{signed}.{}", String::from_utf8(bytes).unwrap())), TokenError::Signature);
}

#[test]
fn claims_that_do_not_fit_are_refused() {
    let (signer, verifier) = pair();
    let now_secs = now().as_second();
    let cases = [
        ("exp", json!(now_secs + 301), TokenError::Times),
        ("exp", json!(now_secs - 1), TokenError::Times),
        ("iat", json!(now_secs + 31), TokenError::Times),
        ("exp", json!("soon"), TokenError::Malformed),
        ("aud", json!("console"), TokenError::Audience),
        ("aud", json!([]), TokenError::Audience),
        ("sub", json!("operator"), TokenError::UnknownCaller),
        ("role", json!("operator"), TokenError::Role),
        ("role", json!("CONSOLE"), TokenError::Role),
        ("role", json!("unspecified"), TokenError::Role),
        ("iat", json!(i64::MIN), TokenError::Times),
    ];
    for (name, value, expected) in cases {
        let mut claims = claims();
        claims[name] = value.clone();
        let token = raw(&signer.key, header(), claims);
        assert_eq!(verifier.verify_at(&token, now()), Err(expected), "{name} = {value}");
    }
    let token = signer.token(&["billing"], Role::Console, 300, now());
    let at = |secs| verifier.verify_at(&token, Timestamp::from_second(now_secs + secs).unwrap());
    assert!(at(329).is_ok() && at(-30).is_ok());
    assert_eq!((at(330), at(-31)), (Err(TokenError::Times), Err(TokenError::Times)));
}

#[test]
fn keys_survive_storage_and_two_are_accepted_while_one_replaces_the_other() {
    let (old, new) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let read = SigningKey::from_secret(&old.to_secret()).unwrap();
    assert_eq!(read.public_key(), old.public_key());
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        old.to_secret().expose_secret()
    );
    assert_eq!(SigningKey::from_secret(&pem.into()).unwrap().public_key(), old.public_key());
    // RFC 8032, 7.1, test 1.
    let seed = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
    let known = SigningKey::from_secret(&STANDARD.encode(seed).into()).unwrap();
    let public = STANDARD.decode(known.public_key()).unwrap();
    assert_eq!(hex::encode(public), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    assert!(SigningKey::from_secret(&"not a key at all".to_owned().into()).is_err());

    let mut verifier = Verifier::new("billing");
    verifier.register("console", Role::Console, &old.public_key()).unwrap();
    verifier.register("console", Role::Console, &new.public_key()).unwrap();
    assert!(verifier.register("console", Role::Operator, &new.public_key()).is_err());
    assert!(verifier.register("other", Role::Operator, "AAAA").is_err());
    for key in [old, new] {
        assert!(verifier.verify(&Signer::new("console", Role::Console, key).token_now(&["billing"])).is_ok());
    }
}

#[test]
fn role_names_are_those_of_the_schema() {
    assert_eq!(role_from_name("usage_source"), Some(Role::UsageSource));
    assert_eq!(role_name(Role::UsageSource), "usage_source");
    for bad in ["", "unspecified", "OPERATOR", "ROLE_OPERATOR"] {
        assert_eq!(role_from_name(bad), None, "{bad}");
    }
}

#[test]
fn a_remembered_token_still_expires() {
    let (signer, verifier) = pair();
    let token = signer.token(&["billing"], Role::Console, 60, now());
    let later = |secs| now() + jiff::SignedDuration::from_secs(secs);
    assert!(verifier.verify_at(&token, now()).is_ok());
    assert!(verifier.verify_at(&token, later(60)).is_ok());
    assert_eq!(verifier.verify_at(&token, later(60 + SKEW_SECS)).unwrap_err(), TokenError::Times);
    // A changed token is another token.
    assert!(verifier.verify_at(&format!("{token}A"), now()).is_err());
}
