//! A client on an API that answers what a test says, and notes what it was asked.
//!
//! Refuses to be compiled into the product.

use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;

/// Method and path of every request, in order.
pub(crate) type Asked = Arc<Mutex<Vec<String>>>;

/// `answer` gives the object at a path; where there is none the answer is 404.
pub(crate) fn client(
    answer: impl Fn(&str) -> Option<Value> + Send + Sync + 'static,
) -> (Client, Asked) {
    let asked = Asked::default();
    let (noted, answer) = (Arc::clone(&asked), Arc::new(answer));
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let path = request.uri().path().to_owned();
        noted.lock().push(format!("{} {path}", request.method()));
        let found = answer(&path);
        async move {
            let (code, object) = match found {
                Some(object) => (200, object),
                None => (404, not_found()),
            };
            let mut response = http::Response::new(Body::from(object.to_string().into_bytes()));
            *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
            Ok::<_, Infallible>(response)
        }
    });
    (Client::new(service, "default"), asked)
}

fn not_found() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "reason": "NotFound", "code": 404, "message": "not found",
    })
}
