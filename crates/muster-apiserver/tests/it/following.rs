//! Many writers and many followers at once: whoever lists, watches, loses the connection and resumes ends up
//! with what a list shows, and hears of every change once and in order.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{CONFIG_MAPS, Client, Cluster, config_map};

/// Numbers without a pattern, the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

const WRITERS: u64 = 4;
const WRITES: u64 = 60;

/// Creates, relabels and deletes a few objects again and again.
async fn write(admin: &Client<'_>, writer: u64) {
    let mut dice = Dice(writer + 1);
    for step in 0..WRITES {
        let name = format!("w{writer}-{}", dice.roll(4));
        let path = format!("{CONFIG_MAPS}/{name}");
        let label = ["on", "off"][dice.roll(2) as usize];
        let code = match dice.roll(4) {
            0 => admin.delete(&path, &Value::Null).await.code,
            1 => {
                let mut object = config_map(&name);
                object["metadata"]["labels"] = json!({"state": label});
                admin.post(CONFIG_MAPS, &object).await.code
            }
            _ => {
                let change = json!({"data": {"step": step.to_string()},
                    "metadata": {"labels": {"state": label}}});
                admin.merge(&path, &change).await.code
            }
        };
        assert!(matches!(code.as_u16(), 200 | 201 | 404 | 409), "{code}");
    }
}

/// What a reflector does: list, watch from there, and now and then begin the watch anew where it stood.
struct Reflector {
    query: &'static str,
    state: BTreeMap<String, Value>,
    version: u64,
}

impl Reflector {
    async fn list(admin: &Client<'_>, query: &'static str) -> Self {
        let list = admin.get(&format!("{CONFIG_MAPS}?{query}")).await.ok();
        let state = list["items"].as_array().unwrap().iter().map(|object| {
            (
                object["metadata"]["name"].as_str().unwrap().to_owned(),
                object.clone(),
            )
        });
        Self {
            query,
            state: state.collect(),
            version: version(&list),
        }
    }

    async fn follow_until(&mut self, admin: &Client<'_>, last: u64, dice: &mut Dice) {
        while self.version < last {
            let query = format!(
                "watch=1&allowWatchBookmarks=true&timeoutSeconds=1&resourceVersion={}&{}",
                self.version, self.query
            );
            let mut watch = admin.watch(&format!("{CONFIG_MAPS}?{query}")).await;
            let patience = dice.roll(40);
            for _ in 0..patience {
                let Some(event) = watch.next().await else {
                    break;
                };
                self.take(&event);
            }
        }
    }

    fn take(&mut self, event: &Value) {
        let object = &event["object"];
        let (kind, version) = (event["type"].as_str().unwrap(), version(object));
        if kind == "BOOKMARK" {
            assert!(version >= self.version, "a bookmark went back");
            self.version = version;
            return;
        }
        assert!(
            version > self.version,
            "{kind} at {version} after {}",
            self.version
        );
        self.version = version;
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let known = match kind {
            "DELETED" => self.state.remove(&name),
            _ => self.state.insert(name.clone(), object.clone()),
        };
        assert_eq!(known.is_some(), kind != "ADDED", "{kind} of {name}");
    }
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_end_where_lists_are_whatever_happens_in_between() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let queries = [
        "",
        "labelSelector=state%3Don",
        "fieldSelector=metadata.name%3Dw0-1",
    ];
    let mut reflectors = Vec::new();
    for query in queries {
        reflectors.push(Reflector::list(&admin, query).await);
    }
    let writing = futures::future::join_all((0..WRITERS).map(|writer| write(&admin, writer)));
    let following = async {
        // Ahead of the end by far: followers work while writers do.
        let first = reflectors[0].version + 40;
        let mut dice = Dice(99);
        reflectors[0].follow_until(&admin, first, &mut dice).await;
    };
    tokio::join!(writing, following);

    let end = admin.post(CONFIG_MAPS, &config_map("end")).await.ok();
    for (at, reflector) in reflectors.iter_mut().enumerate() {
        let mut dice = Dice(at as u64);
        reflector
            .follow_until(&admin, version(&end), &mut dice)
            .await;
        let listed = Reflector::list(&admin, reflector.query).await;
        assert_eq!(
            reflector.state, listed.state,
            "selecting {:?}",
            reflector.query
        );
    }
}
