use std::sync::{Arc, Mutex};

use seawall_config::plan::Probe;
use seawall_core::random::Random;
use seawall_telemetry::metrics::CheckOutcome;
use seawall_testkit::{Origin, PATIENCE};
use tokio::net::TcpListener;

use super::super::tests::{check, found};
use super::*;

/// What a health service answers: the fields of its head, its message, its trailers.
#[derive(Clone)]
struct Answer {
    status: u16,
    head: &'static [(&'static str, &'static str)],
    message: Option<Vec<u8>>,
    trailers: &'static [(&'static str, &'static str)],
}

impl Answer {
    fn serving(status: u8) -> Answer {
        let message = Some(vec![0, 0, 0, 0, 2, 0x08, status]);
        Answer { status: 200, head: &[], message, trailers: &[("grpc-status", "0")] }
    }

    fn failing(head: &'static [(&'static str, &'static str)]) -> Answer {
        Answer { status: 200, head, message: None, trailers: &[] }
    }
}

/// What a service was asked: the path, the fields that matter, the message.
#[derive(Debug, Default, Clone, PartialEq)]
struct Heard {
    path: String,
    authority: String,
    fields: Vec<String>,
    message: Vec<u8>,
}

/// A real HTTP/2 server that gives one answer to everybody.
struct Service {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Service {
    async fn start(answer: Answer) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        let heard = Arc::<Mutex<Vec<Heard>>>::default();
        let note = heard.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer.clone(), note.clone()));
            }
        });
        Service { address, heard }
    }
}

async fn serve(
    stream: TcpStream,
    answer: Answer,
    heard: Arc<Mutex<Vec<Heard>>>,
) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(request) = connection.accept().await {
        let (request, mut respond) = request?;
        let (answer, heard) = (answer.clone(), heard.clone());
        // The connection must go on being polled meanwhile.
        tokio::spawn(async move {
            let (head, mut body) = request.into_parts();
            let mut message = Vec::new();
            while let Some(data) = body.data().await {
                message.extend_from_slice(&data?);
            }
            let field = |name: &str| {
                let value = head.headers.get(name).and_then(|value| value.to_str().ok());
                format!("{name}: {}", value.unwrap_or("-"))
            };
            heard.lock().expect("no test panics with it").push(Heard {
                path: head.uri.path().to_owned(),
                authority: head.uri.authority().map_or_else(String::new, ToString::to_string),
                fields: ["content-type", "te", "grpc-timeout", "user-agent"].map(field).into(),
                message,
            });
            let mut head = http::Response::builder()
                .status(answer.status)
                .header("content-type", "application/grpc");
            for (name, value) in answer.head {
                head = head.header(*name, *value);
            }
            let head = head.body(()).expect("a good head");
            let ends = answer.message.is_none() && answer.trailers.is_empty();
            let mut send = respond.send_response(head, ends)?;
            if let Some(message) = answer.message {
                send.send_data(message.into(), answer.trailers.is_empty())?;
            }
            if !answer.trailers.is_empty() {
                let mut trailers = HeaderMap::new();
                for (name, value) in answer.trailers {
                    trailers.insert(*name, value.parse().expect("a good value"));
                }
                send.send_trailers(trailers)?;
            }
            Ok::<_, h2::Error>(())
        });
    }
    Ok(())
}

fn probe(service: &str) -> Probe {
    Probe::Grpc { service: service.into() }
}

#[tokio::test]
async fn a_service_is_asked_and_its_answer_judged() {
    let mut long = Answer::serving(1);
    long.message = Some(vec![0; 5000]);
    let mut compressed = Answer::serving(1);
    compressed.message = Some(vec![1, 0, 0, 0, 2, 0x08, 1]);
    let mut refused = Answer::serving(1);
    refused.status = 503;
    let mut unsaid = Answer::serving(1);
    unsaid.trailers = &[];
    let mut empty = Answer::serving(0);
    empty.message = Some(vec![0; 5]);
    for (answer, expect) in [
        (Answer::serving(1), Ok("SERVING")),
        (Answer::serving(0), Err("grpc health UNKNOWN")),
        (empty, Err("grpc health UNKNOWN")),
        (Answer::serving(2), Err("grpc health NOT_SERVING")),
        (Answer::serving(3), Err("grpc health SERVICE_UNKNOWN")),
        (Answer::serving(9), Err("grpc health 9")),
        (
            Answer::failing(&[("grpc-status", "5"), ("grpc-message", "no such service")]),
            Err("grpc-status 5 (NOT_FOUND): no such service"),
        ),
        (Answer::failing(&[("grpc-status", "12")]), Err("grpc-status 12 (UNIMPLEMENTED)")),
        (Answer::failing(&[("grpc-status", "77")]), Err("grpc-status 77")),
        (
            Answer::failing(&[("grpc-status", "0")]),
            Err("malformed answer: it is no HealthCheckResponse"),
        ),
        (Answer::failing(&[]), Err("malformed answer: there is no grpc-status")),
        (unsaid, Err("malformed answer: there is no grpc-status")),
        (long, Err("malformed answer: it is too long")),
        (compressed, Err("malformed answer: it is no HealthCheckResponse")),
        (refused, Err("status 503")),
    ] {
        let service = Service::start(answer).await;
        let finding = found(service.address, check(probe("shop.Cart"))).await;
        let result = match finding.outcome {
            CheckOutcome::Good => Ok(&*finding.reason),
            CheckOutcome::Answer => Err(&*finding.reason),
            other => panic!("{other:?}: {}", finding.reason),
        };
        assert_eq!(result, expect);
        assert!(finding.connected);
        let heard = service.heard.lock().expect("no test panics with it").clone();
        let expect = Heard {
            path: "/grpc.health.v1.Health/Check".to_owned(),
            authority: service.address.to_string(),
            fields: vec![
                "content-type: application/grpc".to_owned(),
                "te: trailers".to_owned(),
                format!("grpc-timeout: {}m", PATIENCE.as_millis()),
                "user-agent: seawall-health".to_owned(),
            ],
            message: b"\0\0\0\0\x0b\x0a\x09shop.Cart".to_vec(),
        };
        assert_eq!(heard, [expect]);
    }
}

#[tokio::test]
async fn what_is_not_grpc_fails() {
    let http = Origin::scripted(|connection| {
        connection.read_some()?;
        connection.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")?;
        connection.hang()
    })
    .expect("an origin");
    let finding = found(http.address(), check(probe(""))).await;
    assert_eq!(finding.outcome, CheckOutcome::Answer);
    assert!(finding.reason.starts_with("malformed answer: "), "{}", finding.reason);

    let closing =
        Origin::scripted(|connection| connection.read_some().map(drop)).expect("an origin");
    let finding = found(closing.address(), check(probe(""))).await;
    assert_eq!(finding.outcome, CheckOutcome::Answer, "{}", finding.reason);
    assert!(finding.connected);

    let silent = Origin::silent().expect("an origin");
    let mut hurried = check(probe(""));
    hurried.timeout = Duration::from_millis(250);
    let finding = found(silent.address(), hurried).await;
    assert_eq!(finding.outcome, CheckOutcome::Timeout);
    assert_eq!(&*finding.reason, "timed out after 250ms");
    assert!(finding.connected);
}

#[test]
fn questions_are_framed() {
    assert_eq!(question(""), &b"\0\0\0\0\0"[..]);
    assert_eq!(question("ab"), &b"\0\0\0\0\x04\x0a\x02ab"[..]);
    let long = question(&"x".repeat(300));
    assert_eq!(long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
    assert_eq!(long.len(), 308);
}

#[test]
fn answers_are_read_and_what_is_unknown_is_skipped() {
    let framed = |message: &[u8]| {
        let mut framed = vec![0, 0, 0, 0, message.len() as u8];
        framed.extend_from_slice(message);
        framed
    };
    let cases: [(&[u8], Option<u64>); 18] = [
        (&[], Some(0)),
        (&[0x08, 1], Some(1)),
        (&[0x08, 2, 0x08, 1], Some(1)),
        (&[0x08, 0x81, 0x00], Some(1)),
        (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Some(u64::MAX)),
        (&[0x12, 3, b'a', b'b', b'c', 0x08, 1], Some(1)),
        (&[0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x08, 1], Some(1)),
        (&[0x15, 1, 2, 3, 4, 0x10, 7, 0x08, 1], Some(1)),
        (&[0x80, 0x01, 7, 0x08, 1], Some(1)),
        (&[0x08], None),
        (&[0x08, 0x80], None),
        (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], None),
        (&[0x12, 3, b'a', b'b'], None),
        (&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], None),
        (&[0x11, 1, 2], None),
        (&[0x0b], None),
        (&[0x00, 1], None),
        (&[0x0a, 1, 1], Some(0)),
    ];
    for (message, expect) in cases {
        assert_eq!(serving_status(&framed(message)), expect, "{message:x?}");
    }
    for frame in [&[][..], &[0, 0, 0], &[0, 0, 0, 0, 1], &[0, 0, 0, 0, 0, 8], &[1, 0, 0, 0, 0]] {
        assert_eq!(serving_status(frame), None, "{frame:x?}");
    }
}

#[test]
fn no_answer_makes_it_panic() {
    for seed in 0..256 {
        let mut random = Random::seeded(seed);
        for _ in 0..100 {
            let length = random.below(24) as usize;
            let mut bytes: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
            serving_status(&bytes);
            // The same behind a frame that fits.
            bytes.splice(0..0, [0, 0, 0, 0, length as u8]);
            serving_status(&bytes);
        }
    }
}
