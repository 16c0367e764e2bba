//! Everything that can be wrong with a message, each with a stable code and a sentence.

use thiserror::Error;

/// Why a message was refused. The text says what is wrong and, where it is not plain, why it
/// matters; [`BadMessage::code`] is stable and fit for a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadMessage {
    /// The head is longer than the limit.
    #[error("the head is longer than the limit")]
    HeadTooLarge,
    /// The request line alone is longer than the limit.
    #[error("the request target is longer than the limit for a head")]
    TargetTooLong,
    /// More header fields than the limit.
    #[error("there are more header fields than the limit")]
    TooManyHeaders,
    /// Something before the first line is not a message.
    #[error("the request line is not `METHOD target HTTP/1.1`")]
    RequestLine,
    /// A usual method that is not written in capitals, which some servers take for that method.
    #[error("the method is not written in capitals")]
    MethodCase,
    /// The status line cannot be read.
    #[error("the status line is not `HTTP/1.1 NNN reason`")]
    StatusLine,
    /// A major version other than 1, or a minor version other than 0 and 1.
    #[error("the HTTP version is not 1.0 or 1.1")]
    Version,
    /// A line ends in a bare LF (RFC 9112 §2.2).
    #[error("a line ends in a bare LF; CRLF is due")]
    BareLf,
    /// A CR that no LF follows (RFC 9112 §2.2).
    #[error("there is a CR that no LF follows")]
    BareCr,
    /// A field continued on the next line (RFC 9112 §5.2).
    #[error("a header field is folded over two lines, which is obsolete")]
    Folded,
    /// White space between field name and colon (RFC 9112 §5.1).
    #[error("there is white space between a field name and its colon")]
    SpaceBeforeColon,
    /// A field name with a byte that no token has, or none at all.
    #[error("a field name is empty or has a byte that is not allowed in one")]
    FieldName,
    /// A control byte or NUL in a field value.
    #[error("a field value has a control byte")]
    FieldValue,
    /// The request target has a byte or a form that is not allowed (RFC 9112 §3.2).
    #[error("the request target is not a path, an absolute http URI, or `*` for OPTIONS")]
    Target,
    /// The request target has a fragment.
    #[error("the request target has a fragment (`#`)")]
    Fragment,
    /// A `%` that two hexadecimal digits do not follow.
    #[error("the path has a `%` that two hexadecimal digits do not follow")]
    PercentEncoding,
    /// An encoded NUL in the path.
    #[error("the path has an encoded NUL")]
    EncodedNul,
    /// `..` segments lead above the root.
    #[error("the path has `..` segments that lead above the root")]
    AboveRoot,
    /// `.` or `..` segments behind encoded separators or before path parameters, which some servers
    /// take for what they look like; or more kinds of separators than can be checked.
    #[error("the path hides `.`, `..` or `\\` behind `%2F`, `%5C`, `\\` or `;`")]
    AmbiguousPath,
    /// An HTTP/1.1 request without `Host` (RFC 9112 §3.2).
    #[error("the request has no Host field")]
    HostMissing,
    /// More than one `Host`.
    #[error("the request has more than one Host field")]
    HostRepeated,
    /// `Host` is not a host with an optional port.
    #[error("the Host field is not a host name or address with an optional port")]
    HostInvalid,
    /// A `Content-Length` that is not one number (RFC 9112 §6.3).
    #[error("Content-Length is not one decimal number")]
    ContentLength,
    /// Several `Content-Length` values that differ.
    #[error("there are Content-Length values that differ")]
    ContentLengthDiffers,
    /// Both framings at once: the classic of request smuggling (RFC 9112 §6.1).
    #[error("there are both Content-Length and Transfer-Encoding")]
    BothFramings,
    /// A `Transfer-Encoding` that is malformed, or in HTTP/1.0.
    #[error("Transfer-Encoding is not exactly `chunked`")]
    TransferEncoding,
    /// A well-formed coding that is not spoken here.
    #[error("Transfer-Encoding names a coding other than `chunked`")]
    CodingUnknown,
    /// More options in `Connection` than anyone needs.
    #[error("the Connection field has more than 32 options")]
    ConnectionOptions,
    /// An interim answer (1xx) that announces content, which it cannot have (RFC 9112 §6.3).
    #[error("an interim answer announces content, which it cannot have")]
    BodyNotAllowed,
    /// A chunk size with a sign, a prefix, no digit, or too many.
    #[error("a chunk size is not a hexadecimal number of at most 16 digits")]
    ChunkSize,
    /// A chunk extension with a control byte, or more of them than the limit.
    #[error("chunk extensions are malformed or too long")]
    ChunkExtension,
    /// A chunk that CRLF does not end.
    #[error("a chunk does not end in CRLF")]
    ChunkEnd,
    /// Trailer fields that are malformed.
    #[error("the trailer section is malformed")]
    Trailer,
    /// Trailer fields past the limits.
    #[error("the trailer section is longer than the limit")]
    TrailerTooLarge,
    /// The peer closed before the message was complete.
    #[error("the connection closed before the message was complete")]
    Truncated,
}

impl BadMessage {
    /// A short stable name, for logs and metric labels.
    pub fn code(self) -> &'static str {
        use BadMessage::*;
        match self {
            HeadTooLarge => "head-too-large",
            TargetTooLong => "target-too-long",
            TooManyHeaders => "too-many-headers",
            RequestLine => "request-line",
            MethodCase => "method-case",
            StatusLine => "status-line",
            Version => "version",
            BareLf => "bare-lf",
            BareCr => "bare-cr",
            Folded => "folded-field",
            SpaceBeforeColon => "space-before-colon",
            FieldName => "field-name",
            FieldValue => "field-value",
            Target => "target",
            Fragment => "fragment",
            PercentEncoding => "percent-encoding",
            EncodedNul => "encoded-nul",
            AboveRoot => "above-root",
            AmbiguousPath => "ambiguous-path",
            HostMissing => "host-missing",
            HostRepeated => "host-repeated",
            HostInvalid => "host-invalid",
            ContentLength => "content-length",
            ContentLengthDiffers => "content-length-differs",
            BothFramings => "both-framings",
            TransferEncoding => "transfer-encoding",
            CodingUnknown => "coding-unknown",
            ConnectionOptions => "connection-options",
            BodyNotAllowed => "body-not-allowed",
            ChunkSize => "chunk-size",
            ChunkExtension => "chunk-extension",
            ChunkEnd => "chunk-end",
            Trailer => "trailer",
            TrailerTooLarge => "trailer-too-large",
            Truncated => "truncated",
        }
    }
}
