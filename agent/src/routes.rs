//! The routes of the agent.

use microbench_agent::workload::{MOST_BYTES, WorkloadRequest};
use serde::Serialize;

use crate::http::{Body, Next, Request, Response};
use crate::options::Options;
use crate::{execute, index, instants, stats, traffic};

pub(crate) fn respond(request: &Request, options: &Options) -> Response {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    match (request.method.as_str(), path) {
        ("GET", "/") => match index::read_blocks(&options.index) {
            Ok(bytes) => {
                instants::record_response();
                Response::text(200, format!("microbench-agent: {bytes} bytes read"))
            }
            Err(error) => Response::text(500, format!("{}: {error}", options.index.display())),
        },
        ("GET", "/stats") => match stats::read(options) {
            Ok(stats) => json(200, &stats),
            Err(error) => Response::text(500, error.to_string()),
        },
        ("GET", "/file") => match traffic::read_file(&options.index, query) {
            Some(Ok(body)) => octets(Body::Bytes(body)),
            Some(Err(error)) => Response::text(500, format!("{}: {error}", options.index.display())),
            None => Response::text(400, "the query must be ?bytes=N, at most the size of the file"),
        },
        ("GET", "/stream") => match traffic::parse_bytes(query, MOST_BYTES) {
            Some(bytes) => octets(Body::Stream(bytes)),
            None => Response::text(400, format!("the query must be ?bytes=N, at most {MOST_BYTES}")),
        },
        ("POST", "/stream") => match &request.received {
            Some(received) => json(200, received),
            None => Response::text(400, "the request has no body"),
        },
        ("POST", "/work") => {
            let workload = serde_json::from_slice::<WorkloadRequest>(&request.body).map_err(|error| error.to_string());
            match workload.and_then(|workload| workload.check().map(|()| workload)) {
                Ok(workload) => match execute::execute(&workload, options) {
                    Ok(reply) => json(200, &reply),
                    Err(error) => Response::text(500, error.to_string()),
                },
                Err(problem) => Response::text(400, problem),
            }
        }
        ("POST", "/shutdown") => Response { next: Next::EndMachine, ..Response::text(202, "restarting") },
        (_, "/" | "/stats" | "/file" | "/stream" | "/work" | "/shutdown") => {
            Response::text(405, "this path does not support the method")
        }
        _ => Response::text(404, "there is no such path"),
    }
}

fn json(status: u16, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => Response { status, kind: "application/json", body: Body::Bytes(body), next: Next::Serve },
        Err(error) => Response::text(500, error.to_string()),
    }
}

fn octets(body: Body) -> Response {
    Response { status: 200, kind: "application/octet-stream", body, next: Next::Serve }
}
