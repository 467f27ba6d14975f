//! The types that all other rooms share.

mod address;
mod algorithm;
mod binding;
mod call;
mod caller;
mod condition;
mod display_name;
mod endpoint;
mod entry;
mod identity;
mod instructions;
mod language;
mod origin;
mod origin_pattern;
mod origins;
mod persona;
mod personas;
mod quota;
mod random;
mod rate;
mod request_id;
mod safety_key;
mod secret;
mod session;
mod session_id;
mod upstream_call;
pub mod written;

pub use address::{Network, canonical, is_private};
pub use algorithm::{Algorithm, AlgorithmError, Family, algorithm};
pub use binding::{Binding, Bindings};
pub use call::{Call, CallChange, CallState, CallStep, CallUse, Dial, EndReason, LATE, Used};
pub use caller::{Caller, Forwards};
pub use condition::Condition;
pub use display_name::DisplayName;
pub use endpoint::{below, endpoint, is_loopback, is_private_enough, own_host};
pub use entry::{EntryId, Intent, Kind, Outcome, SessionChange, Settlement};
pub use identity::{Account, Identity, IdentityKey, Naming, Party};
pub use instructions::{Instructions, InstructionsError, LONGEST_INSTRUCTIONS, Listener};
pub use language::{Language, LanguageError};
pub use origin::{Origin, OriginError};
pub use origin_pattern::OriginPattern;
pub use origins::Origins;
pub use persona::{
    Persona, PersonaName, PersonaNameError, SessionObject, SessionObjectError, SessionText,
};
pub use personas::{Asked, Personas, PersonasError};
pub use quota::{Month, Quota, Quotas, day_of};
pub use random::random_bytes;
pub use rate::{Rate, RateError, parse_duration};
pub use request_id::RequestId;
pub use safety_key::SafetyKey;
pub use secret::{ClientSecret, UpstreamSession};
pub use session::{Opening, RefreshRules, Refusal, Session};
pub use session_id::{SessionId, SessionKey};
pub use upstream_call::{KeyFingerprint, UpstreamCall, UpstreamCallId};
