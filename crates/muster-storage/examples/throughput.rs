//! How many durable writes per second this disk carries, by the number of writers.
//! Run it with `cargo run --release -p muster-storage --example throughput -- FOLDER`.
#![expect(clippy::print_stdout, reason = "printing is what this program is for")]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use muster_storage::{SqliteStore, Store, StoreError};

/// A small object.
const VALUE: [u8; 1024] = [b'v'; 1024];

/// How long each measurement runs.
const TIME: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    for writers in [1, 8, 32, 256] {
        let path = folder.join(format!("throughput-{}-{writers}.db", std::process::id()));
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path)?);
        let start = Instant::now();
        let running: Vec<_> = (0..writers)
            .map(|writer| tokio::spawn(write(Arc::clone(&store), writer)))
            .collect();
        let mut slowest = Duration::ZERO;
        for writer in running {
            slowest = slowest.max(writer.await??);
        }
        let per_second = store.current_revision().0 as f64 / start.elapsed().as_secs_f64();
        println!("{writers:4} writers: {per_second:8.0} writes/s, slowest {slowest:?}");
        store.close().await?;
        std::fs::remove_file(&path)?;
        std::fs::remove_file(folder.join(format!("{}-lock", path.display())))?;
    }
    Ok(())
}

/// Creates and updates until the time is over; answers how long its slowest write took.
async fn write(store: Arc<dyn Store>, writer: usize) -> Result<Duration, StoreError> {
    let (start, mut slowest) = (Instant::now(), Duration::ZERO);
    for n in 0_u64.. {
        if start.elapsed() > TIME {
            break;
        }
        let (key, begun) = (format!("/bench/{writer}/{}", n / 4), Instant::now());
        match store.get(&key).await? {
            (Some(kv), _) => {
                store
                    .update(&key, Bytes::from_static(&VALUE), kv.modified)
                    .await?
            }
            (None, _) => store.create(&key, Bytes::from_static(&VALUE)).await?,
        };
        slowest = slowest.max(begun.elapsed());
    }
    Ok(slowest)
}
