//! The types that all other rooms share.

mod address;
mod algorithm;
mod binding;
mod budget;
mod call;
mod caller;
mod condition;
mod connect_mode;
mod csv;
mod display_name;
mod endpoint;
mod entry;
mod identity;
mod instructions;
mod language;
mod money;
mod need;
mod offer;
mod origin;
mod origin_pattern;
mod origins;
mod persona;
mod personas;
mod price;
mod quota;
mod random;
mod rate;
mod recording;
mod request_id;
mod safety_key;
mod secret;
mod session;
mod session_id;
mod ticket;
mod trace;
mod upstream_call;
mod usage;
mod webhook;
pub mod written;

pub use address::{Network, canonical, is_private};
pub use algorithm::{Algorithm, AlgorithmError, Family, algorithm};
pub use binding::{Binding, Bindings};
pub use budget::{Amount, Budget, Budgets, Exhausted, Limit, Period, Purse};
pub use call::{
    Call, CallChange, CallLimits, CallState, CallStep, CallUse, Dial, EndReason, Hold, Kin, LATE,
    LONGEST_CALL, Used,
};
pub use caller::{Caller, Forwards};
pub use condition::Condition;
pub use connect_mode::ConnectMode;
pub use csv::csv_cell;
pub use display_name::DisplayName;
pub use endpoint::{below, endpoint, is_loopback, is_private_enough, own_host, web_address};
pub use entry::{EntryId, Intent, Kind, Outcome, SessionChange, Settlement};
pub use identity::{Account, Identity, IdentityKey, Naming, Party, SERVICE_KEYS};
pub use instructions::{Instructions, InstructionsError, LONGEST_INSTRUCTIONS, Listener};
pub use language::{Language, LanguageError};
pub use money::Money;
pub use need::{Need, Unpriced};
pub use offer::{LONGEST_OFFER, Offer, OfferError, RemovedChannel};
pub use origin::{Origin, OriginError};
pub use origin_pattern::OriginPattern;
pub use origins::Origins;
pub use persona::{
    Persona, PersonaCalls, PersonaName, PersonaNameError, SessionObject, SessionObjectError,
    SessionText,
};
pub use personas::{Asked, Personas, PersonasError};
pub use price::{Card, Cost, Prices, Rates, in_tier};
pub use quota::{Month, Quota, Quotas, day_of};
pub use random::random_bytes;
pub use rate::{Rate, RateError, parse_duration};
pub use recording::{Format, LARGEST_RECORDING, Recording, held_length};
pub use request_id::RequestId;
pub use safety_key::SafetyKey;
pub use secret::{ClientSecret, UpstreamSession};
pub use session::{Opening, RefreshRules, Refusal, Session};
pub use session_id::{SessionId, SessionKey};
pub use ticket::{KnownTicket, RELAY_USES, Ticket, TicketRefusal, hash};
pub use trace::Trace;
pub use upstream_call::{KeyFingerprint, UpstreamCall, UpstreamCallId};
pub use usage::{Mark, Reading, Tokens, Usage};
pub use webhook::{WebhookHead, WebhookKeys};
