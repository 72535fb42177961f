//! The routes.

use microbench_agent::work::{MOST_BYTES, WorkRequest};
use serde::Serialize;

use crate::http::{Body, Request, Response, Then};
use crate::options::Options;
use crate::{index, instants, stats, traffic, worker};

/// Answers one request.
pub(crate) fn answer(request: &Request, options: &Options) -> Response {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    match (request.method.as_str(), path) {
        ("GET", "/") => match index::read(&options.index) {
            Ok(bytes) => {
                instants::answered();
                Response::text(200, format!("microbench-agent: {bytes} bytes read"))
            }
            Err(error) => Response::text(500, format!("{}: {error}", options.index.display())),
        },
        ("GET", "/stats") => match stats::read(options) {
            Ok(stats) => json(200, &stats),
            Err(error) => Response::text(500, error.to_string()),
        },
        ("GET", "/file") => match traffic::file(&options.index, query) {
            Some(Ok(body)) => octets(Body::Bytes(body)),
            Some(Err(error)) => Response::text(500, format!("{}: {error}", options.index.display())),
            None => Response::text(400, "it takes ?bytes=N, within the file"),
        },
        ("GET", "/stream") => match traffic::asked(query, MOST_BYTES) {
            Some(bytes) => octets(Body::Stream(bytes)),
            None => Response::text(400, format!("it takes ?bytes=N, at most {MOST_BYTES}")),
        },
        ("POST", "/stream") => match &request.received {
            Some(received) => json(200, received),
            None => Response::text(400, "nothing was sent"),
        },
        ("POST", "/work") => {
            let work = serde_json::from_slice::<WorkRequest>(&request.body).map_err(|error| error.to_string());
            match work.and_then(|work| work.check().map(|()| work)) {
                Ok(work) => match worker::run(&work, options) {
                    Ok(reply) => json(200, &reply),
                    Err(error) => Response::text(500, error.to_string()),
                },
                Err(problem) => Response::text(400, problem),
            }
        }
        ("POST", "/shutdown") => Response { then: Then::Restart, ..Response::text(202, "restarting") },
        (_, "/" | "/stats" | "/file" | "/stream" | "/work" | "/shutdown") => {
            Response::text(405, "the method does not fit the path")
        }
        _ => Response::text(404, "no such path"),
    }
}

fn json(status: u16, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => Response { status, kind: "application/json", body: Body::Bytes(body), then: Then::Go },
        Err(error) => Response::text(500, error.to_string()),
    }
}

fn octets(body: Body) -> Response {
    Response { status: 200, kind: "application/octet-stream", body, then: Then::Go }
}
