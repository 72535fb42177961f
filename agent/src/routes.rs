//! The routes.

use microbench_agent::HashRequest;
use serde::Serialize;

use crate::http::{Request, Response, Then};
use crate::options::Options;
use crate::{hash, index, instants, stats};

/// Answers one request.
pub(crate) fn answer(request: &Request, options: &Options) -> Response {
    match (request.method.as_str(), request.path.as_str()) {
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
        ("POST", "/hash") => match serde_json::from_slice::<HashRequest>(&request.body) {
            Ok(work) if work.bytes > HashRequest::MAX_BYTES || work.rounds > HashRequest::MAX_ROUNDS => {
                Response::text(400, "too many bytes or rounds")
            }
            Ok(work) => json(200, &hash::run(work)),
            Err(error) => Response::text(400, error.to_string()),
        },
        ("POST", "/shutdown") => Response { then: Then::Restart, ..Response::text(202, "restarting") },
        (_, "/" | "/stats" | "/hash" | "/shutdown") => Response::text(405, "the method does not fit the path"),
        _ => Response::text(404, "no such path"),
    }
}

fn json(status: u16, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => Response { status, kind: "application/json", body, then: Then::Go },
        Err(error) => Response::text(500, error.to_string()),
    }
}
