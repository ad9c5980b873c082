//! Why the store is built as it is. There is no code here.
//!
//! # What is kept
//!
//! One append-only log. Each write is a row under the next revision, with the key, the value, the
//! revision that it replaced and the revision at which the key's life began. Everything else is read
//! out of the log: the present is the newest row of each key that is not a delete; the state *at* a
//! revision is the same question with the later rows left out; a watch from a revision is the rows
//! behind it. Because past and present are the same rows, a listing and the watch that continues it
//! cannot disagree. (The shape is that of etcd's key space, and of kine's table under SQL databases.)
//!
//! # What is refused
//!
//! The store does not know Kubernetes. Keys are text with an order, values are bytes. No leases and no
//! times to live: whoever needs expiry deletes with a clock of their own. No transactions over several
//! keys: compare-and-set on one key is all that an API server builds upon. No range deletes, no
//! encryption, no users.
//!
//! # Writes
//!
//! One thread writes. It takes all requests that have gathered, decides each against the state its
//! predecessors in the group leave, appends those that stand, and commits once. A disk that syncs in a
//! few milliseconds thus carries thousands of concurrent writes per second, and a lone write waits for
//! nobody. The steps have one order: **commit, publish, answer.** So a caller who has an answer
//! finds its write in every read and knows it to be durable, and no watch ever tells of a write
//! that a crash could take back. A failed commit answers its whole group with the failure, including
//! those who were refused: what they were refused for may have been part of what failed.
//!
//! Durable means `synchronous=FULL`: the write-ahead log has been synced to the disk before the answer.
//! (`NORMAL` in WAL mode is faster and forgets the last commits when the power fails.)
//!
//! # Reads
//!
//! Reads go to a few read-only connections on blocking threads, each read in one snapshot at one
//! *published* revision. The present is not cached in memory: an API server keeps its own cache and
//! reads the store at its start, and a second copy would only cost memory.
//!
//! # Watches
//!
//! Nobody polls. Each commit rings one bell; a watch that hears it takes what it needs from a ring of
//! the newest events (bounded in number and in bytes) that all watches of a store share. A watch has a
//! position and nothing else: no queue that could overflow or hold up the writer. If the ring has moved
//! on without it, it reads the log from its position and comes back to the ring. If the log has been
//! compacted past its position it is told so, and ends.
//!
//! Every commit makes a batch for every watch, though perhaps an empty one: that is how a reader knows
//! that it has seen everything up to a revision, which answers "is my cache fresh enough?" without
//! asking the store.
//!
//! # Compaction
//!
//! First the compacted revision is made durable; from then on nothing older is answered. Then the rows
//! that nobody can ask for any more are deleted, oldest first and in slices with writes in between;
//! then free pages go back to the file system and the write-ahead log is folded in. A crash anywhere in
//! between leaves rows that are never read, and the next compaction removes them. The newest revision
//! is written down as well, so that revisions do not repeat when the newest row is swept.
//!
//! # The file
//!
//! It is created with mode 0600 before anything is written to it, and a file that others may read is
//! refused: it holds keys of certificate authorities. A lock file beside it makes sure that one store
//! at a time has it open; the lock goes with the process. `user_version` carries the schema version, and
//! a newer one is refused rather than guessed at. Everything in it can be looked at with `sqlite3`.
