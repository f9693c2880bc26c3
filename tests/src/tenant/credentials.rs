//! How the Management API is reached, and what is said where it is not.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use local_tenant::{LocalTenant, Options};

use super::{Fresh, Ran, path_text};

#[tokio::test]
async fn a_token_or_a_client_comes_from_the_environment_a_file_or_dot_env() {
    let fresh = Fresh::new().await;
    let (id, secret) = fresh.tenant.management_client();
    let token_file = fresh.file("token", &format!("{}\n", fresh.token));
    let secret_file = fresh.file("secret", &format!("  {}\n", secret.expose()));
    fresh.run_with(&[("AUTH0_API_TOKEN", &fresh.token)], &["plan"]).expect(2);
    fresh.run_with(&[], &["plan", "--token-file", path_text(&token_file)]).expect(2);
    fresh.run_with(&fresh.client(), &["plan"]).expect(2);
    let by_file = ["plan", "--client-secret-file", path_text(&secret_file)];
    fresh.run_with(&[("AUTH0_CLIENT_ID", id)], &by_file).expect(2);
    // A file goes before a variable.
    fresh
        .run_with(&[("AUTH0_API_TOKEN", "wrong")], &["plan", "--token-file", path_text(&token_file)])
        .expect(2);
    fresh.run_with(&[("AUTH0_CLIENT_ID", id), ("AUTH0_API_TOKEN", "wrong")], &by_file).expect(2);
    fresh.file(".env", &format!("AUTH0_CLIENT_ID={id}\nAUTH0_CLIENT_SECRET={}\n", secret.expose()));
    fresh.run_with(&[], &["plan"]).expect(2);
    fresh.file(".env", &format!("AUTH0_API_TOKEN={}\n", fresh.token));
    fresh.run_with(&[], &["plan"]).expect(2);
}

type Variable<'a> = (&'a str, &'a str);

#[tokio::test]
async fn half_of_the_credentials_is_said_to_be_half() {
    let fresh = Fresh::new().await;
    let (id, secret) = fresh.tenant.management_client();
    let secret_file = fresh.file("secret", secret.expose());
    let empty = fresh.file("empty", "\n");
    let words = fresh.file("words", "two words");
    let (secret_file, empty, words) = (path_text(&secret_file), path_text(&empty), path_text(&words));
    let cases: [(&[Variable<'_>], &[&str], &str); 7] = [
        (&[("AUTH0_CLIENT_ID", id)], &[], "AUTH0_CLIENT_ID is set, and AUTH0_CLIENT_SECRET is not"),
        (&[("AUTH0_CLIENT_SECRET", secret.expose())], &[], "AUTH0_CLIENT_ID is not set"),
        (&[], &["--client-secret-file", secret_file], "AUTH0_CLIENT_ID is not set"),
        (&[], &["--token-file", empty], "empty is empty"),
        (&[("AUTH0_API_TOKEN", "two words")], &[], "AUTH0_API_TOKEN has more than one word"),
        (&[], &["--token-file", words], "words has more than one word"),
        (&[], &["--token-file", "no-such-file"], "no-such-file can't be read"),
    ];
    for (environment, arguments, said) in cases {
        for command in ["plan", "drift", "doctor"] {
            let refused = fresh.run_with(environment, &[&[command], arguments].concat()).expect(1);
            assert!(refused.err.contains(said), "{said}: {refused:?}");
        }
    }
}

#[tokio::test]
async fn without_credentials_a_plan_says_how_to_get_them_and_a_diagnosis_goes_as_far_as_it_can() {
    let fresh = Fresh::new().await;
    for command in [&["plan"][..], &["apply", "--yes"], &["drift"]] {
        let refused = fresh.run_with(&[], command).expect(1);
        for part in ["AUTH0_CLIENT_ID", "AUTH0_CLIENT_SECRET", "AUTH0_API_TOKEN", "read:tenant_settings"] {
            assert!(refused.err.contains(part), "{part}: {refused:?}");
        }
    }
    let report = fresh.run_with(&[], &["doctor", "--json"]).json();
    assert!(report["not_judged"].to_string().contains("AUTH0_API_TOKEN"), "{report}");
    let text = fresh.run_with(&[], &["doctor"]).out;
    assert!(text.contains("not judged: ") && !text.contains("as the server needs them"), "{text}");
}

#[tokio::test]
async fn what_the_tenant_does_not_accept_is_said_without_repeating_it() {
    let fresh = Fresh::new().await;
    let (id, _) = fresh.tenant.management_client();
    let wrong = [("AUTH0_CLIENT_ID", id), ("AUTH0_CLIENT_SECRET", "canary-of-a-wrong-secret")];
    let refused = fresh.run_with(&wrong, &["plan"]).expect(1);
    assert!(refused.err.contains("no token for the Management API: "), "{refused:?}");
    assert_silent(&refused);
    let refused = fresh.run_with_token("canary-of-a-wrong-token", &["doctor"]).expect(1);
    assert!(refused.err.contains("does not accept the token: Invalid token"), "{refused:?}");
    assert_silent(&refused);

    let other = Fresh::new().await;
    let refused = fresh.run_with_token(&other.token, &["plan"]).expect(1);
    assert!(refused.err.contains("for the tenant alone that issued it"), "{refused:?}");
    assert!(!refused.err.contains(&other.token));
    // An access token for the server itself is none for the Management API.
    let options = Options::default().with_api_identifier(super::API);
    let set_up = LocalTenant::start(options).await.unwrap();
    let request = local_tenant::TokenRequest { user: "admin".into(), scope: None, audience: None };
    let token = set_up.issue_token(&request).unwrap().access_token;
    let environment = [("AUTH0_ISSUER", set_up.issuer()), ("AUTH0_API_TOKEN", &token)];
    let refused = fresh.run_with(&environment, &["plan"]).expect(1);
    assert!(refused.err.contains("does not accept the token"), "{refused:?}");
}

#[track_caller]
fn assert_silent(ran: &Ran) {
    assert!(!ran.err.contains("canary") && !ran.out.contains("canary"), "{ran:?}");
}

#[tokio::test]
async fn a_tenant_that_is_not_there_is_said_not_to_be_there() {
    let fresh = Fresh::new().await;
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let issuer = format!("http://127.0.0.1:{free}/");
    let environment = [("AUTH0_ISSUER", issuer.as_str()), ("AUTH0_API_TOKEN", &fresh.token)];
    for command in ["plan", "drift"] {
        let refused = fresh.run_with(&environment, &[command]).expect(1);
        assert!(refused.err.contains("127.0.0.1 can't be reached: "), "{refused:?}");
    }
}

/// A tenant that redirects gets no further request, so the token goes nowhere else.
#[tokio::test]
async fn a_redirect_is_not_followed() {
    let fresh = Fresh::new().await;
    let elsewhere = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let redirecting = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let issuer = format!("http://127.0.0.1:{}/", redirecting.local_addr().unwrap().port());
    let location = format!("http://{}/api/v2/tenants/settings", elsewhere.local_addr().unwrap());
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = redirecting.accept().unwrap();
        let mut request = [0; 4096];
        let length = stream.read(&mut request).unwrap();
        let head =
            format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        String::from_utf8(request[..length].to_vec()).unwrap()
    });
    let environment = [("AUTH0_ISSUER", issuer.as_str()), ("AUTH0_API_TOKEN", &fresh.token)];
    let refused = fresh.run_with(&environment, &["plan"]).expect(1);
    assert!(answering.join().unwrap().contains(&fresh.token), "the tenant itself gets the token");
    assert!(refused.err.contains("was answered 307"), "{refused:?}");
    let nobody = elsewhere.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock, "the redirect was followed");
}
