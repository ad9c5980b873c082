//! The few messages of etcd's API that membership and health need (`etcdserverpb`, etcd 3.4 to 3.6). Field numbers are
//! those of the API; fields that nobody reads are left out.

/// `etcdserverpb.Member`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Member {
    /// Its id.
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    /// Its name; empty until it has started.
    #[prost(string, tag = "2")]
    pub(super) name: String,
    /// Where its peers reach it.
    #[prost(string, repeated, tag = "3")]
    pub(super) peer_urls: Vec<String>,
    /// Where clients reach it; empty until it has started.
    #[prost(string, repeated, tag = "4")]
    pub(super) client_urls: Vec<String>,
    /// Whether it has no vote.
    #[prost(bool, tag = "5")]
    pub(super) is_learner: bool,
}

/// `etcdserverpb.MemberListRequest`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct MemberListRequest {
    /// Whether a quorum must agree to the answer.
    #[prost(bool, tag = "1")]
    pub(super) linearizable: bool,
}

/// `etcdserverpb.MemberListResponse`, and of MemberRemove and MemberPromote.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct MemberListResponse {
    /// All members.
    #[prost(message, repeated, tag = "2")]
    pub(super) members: Vec<Member>,
}

/// `etcdserverpb.MemberAddRequest`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct MemberAddRequest {
    /// Where its peers will reach it.
    #[prost(string, repeated, tag = "1")]
    pub(super) peer_urls: Vec<String>,
    /// Whether it begins without a vote.
    #[prost(bool, tag = "2")]
    pub(super) is_learner: bool,
}

/// `etcdserverpb.MemberAddResponse`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct MemberAddResponse {
    /// The new member.
    #[prost(message, optional, tag = "2")]
    pub(super) member: Option<Member>,
    /// All members.
    #[prost(message, repeated, tag = "3")]
    pub(super) members: Vec<Member>,
}

/// `etcdserverpb.MemberRemoveRequest` and `MemberPromoteRequest`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct MemberIdRequest {
    /// Which.
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
}

/// `etcdserverpb.StatusRequest`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct StatusRequest {}

/// `etcdserverpb.StatusResponse`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct StatusResponse {
    /// Its version.
    #[prost(string, tag = "2")]
    pub(super) version: String,
    /// The size of its data, in bytes.
    #[prost(int64, tag = "3")]
    pub(super) db_size: i64,
    /// The id of the leader it follows; 0 when there is none.
    #[prost(uint64, tag = "4")]
    pub(super) leader: u64,
    /// What ails it.
    #[prost(string, repeated, tag = "8")]
    pub(super) errors: Vec<String>,
    /// Whether it has no vote.
    #[prost(bool, tag = "10")]
    pub(super) is_learner: bool,
}

/// `etcdserverpb.AlarmRequest`; as it is by default it asks for all alarms.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct AlarmRequest {
    /// 0: get.
    #[prost(int32, tag = "1")]
    pub(super) action: i32,
}

/// `etcdserverpb.AlarmResponse`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct AlarmResponse {
    /// Those that are raised.
    #[prost(message, repeated, tag = "2")]
    pub(super) alarms: Vec<AlarmMember>,
}

/// `etcdserverpb.AlarmMember`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct AlarmMember {
    /// Whose.
    #[prost(uint64, tag = "1")]
    pub(super) member_id: u64,
    /// 1: no space, 2: corrupt.
    #[prost(int32, tag = "2")]
    pub(super) alarm: i32,
}
