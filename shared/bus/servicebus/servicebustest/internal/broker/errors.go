package broker

// Error is a refusal in the words of the service.
type Error struct{ Condition, Text string }

func (e *Error) Error() string { return e.Condition + ": " + e.Text }

// Conditions of the service, from its published AMQP errors.
const (
	NotAllowed          = "amqp:not-allowed"
	NotFound            = "amqp:not-found"
	NotImplemented      = "amqp:not-implemented"
	Unauthorized        = "amqp:unauthorized-access"
	DecodeError         = "amqp:decode-error"
	SizeExceeded        = "amqp:link:message-size-exceeded"
	QuotaExceeded       = "amqp:resource-limit-exceeded"
	MessageLockLost     = "com.microsoft:message-lock-lost"
	SessionLockLost     = "com.microsoft:session-lock-lost"
	SessionNotLocked    = "com.microsoft:session-cannot-be-locked"
	MessageNotFound     = "com.microsoft:message-not-found"
	ArgumentError       = "com.microsoft:argument-error"
	ServerBusy          = "com.microsoft:server-busy"
	Timeout             = "com.microsoft:timeout"
	quotaText           = "The maximum entity size has been reached or exceeded."
	lockLostText        = "The lock supplied is invalid. Either the lock expired, or the message has already been removed from the queue."
	sessionLostText     = "The session lock has expired or was released. Accept the session again."
	messageNotFoundText = "Failed to lock one or more specified messages. The message does not exist."
)

func refuse(condition, text string) *Error { return &Error{condition, text} }
