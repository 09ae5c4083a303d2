package ews

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// Kinds of codes that need more than an error value.
var (
	errBusy     = errors.New("server busy")     // raise the account's fence
	errStopped  = errors.New("batch stopped")   // ask for the rest again
	errDoubtful = errors.New("not known to us") // of an item: ask for it alone before giving it up
)

// aliasError says under which address Exchange knows the mailbox.
type aliasError struct{ primary string }

func (*aliasError) Error() string { return "not the primary address of the mailbox" }

// failure is what an EWS response code means for a whole request. The codes are described in
// https://learn.microsoft.com/exchange/client-developer/web-service-reference/responsecode
func failure(code string) error {
	switch code {
	// The mailbox, or the right to it.
	case "ErrorNonExistentMailbox", // no such address in the directory, or no mailbox behind it
		"ErrorMissingEmailAddress", // the directory object has no mailbox
		"ErrorInvalidSmtpAddress":
		return mailbox.ErrNoMailbox
	case "ErrorAccessDenied",
		"ErrorImpersonateUserDenied", // outside of the role's scope
		"ErrorImpersonationDenied",
		"ErrorImpersonationFailed",
		"ErrorAccountDisabled",
		"ErrorPasswordExpired",
		"ErrorPasswordChangeRequired":
		return mailbox.ErrAccess
	case "ErrorFolderNotFound", "ErrorSyncFolderNotFound", "ErrorParentFolderNotFound", "ErrorItemNotFound":
		return mailbox.ErrNoFolder // a folder id that is gone is also called an item
	case "ErrorInvalidSyncStateData":
		return mailbox.ErrStartAgain

	// Limits of the account.
	case "ErrorServerBusy",
		"ErrorExceededConnectionCount": // EWSMaxConcurrency, counted with other programs of this account
		return errBusy
	case "ErrorBatchProcessingStopped":
		return errStopped

	// Passing states of the server; the same request may succeed later.
	case "ErrorMailboxMoveInProgress",
		"ErrorMailboxStoreUnavailable",
		"ErrorMailboxFailover",
		"ErrorTimeoutExpired",
		"ErrorInternalServerTransientError",
		"ErrorConnectionFailed",
		"ErrorConnectionFailedTransientError",
		"ErrorExceededFindCountLimit", // 1000 rows in memory for all requests of the account
		"ErrorTooManyObjectsOpened",
		"ErrorInsufficientResources",
		"ErrorNotEnoughMemory",
		"ErrorADUnavailable",
		"ErrorADOperation",
		"ErrorADSessionFilter",
		"ErrorNoRespondingCASInDestinationSite",
		"ErrorProxyServiceDiscoveryFailed",
		"ErrorProxiedSubscriptionCallFailure",
		"ErrorProxyCallFailed",
		"ErrorProxyRequestProcessingFailed",
		"ErrorInternalServerError": // a whole request has failed for a reason that is not told
		return mailbox.ErrUnavailable
	}
	return errDoubtful
}

// itemFailure is what a response code means for one item of an export.
func itemFailure(code string) error {
	switch code {
	case "ErrorItemNotFound", // deleted or moved since it was listed
		"ErrorMessageDisposed":
		return &mailbox.ItemError{Reason: mailbox.Gone, Detail: code}
	case "ErrorItemCorrupt",
		"ErrorCorruptData",
		"ErrorContentConversionFailed",
		"ErrorMessageSizeExceeded", // larger than the server is set to hand out
		"ErrorInvalidId",
		"ErrorInvalidIdEmpty",
		"ErrorInvalidIdMalformed":
		return &mailbox.ItemError{Reason: mailbox.Corrupt, Detail: code}
	case "ErrorInternalServerError", "ErrorAccessDenied", // of one item, while the mailbox is open to us
		"ErrorFolderNotFound", "ErrorSyncFolderNotFound", "ErrorParentFolderNotFound":
		return errDoubtful
	}
	return failure(code)
}

// innermost is the code that says most: Exchange may wrap another one into ErrorInternalServerError.
func innermost(code string, values map[string]string) string {
	if inner := values["InnerErrorResponseCode"]; inner != "" && itemFailure(inner) != errDoubtful {
		return inner
	}
	return code
}

// asError turns a response code into the error that the caller sees, and raises the fence. The server's message text
// is left out, because it may name people.
func (s *Source) asError(code string, values map[string]string) error {
	code = innermost(code, values)
	if code == "ErrorNonPrimarySmtpAddress" {
		return &aliasError{primary: primary(values)}
	}
	switch err := failure(code); err {
	case errBusy:
		return s.account.throttled(values["BackOffMilliseconds"])
	case errStopped:
		return fmt.Errorf("%w: %s", mailbox.ErrUnavailable, code)
	case errDoubtful:
		return fmt.Errorf("exchange answers %s", word(code))
	default:
		return fmt.Errorf("%w: %s", err, code)
	}
}

// primary is the address within an ErrorNonPrimarySmtpAddress: the value named Primary, or the only one that looks
// like an address.
func primary(values map[string]string) string {
	if v := values["Primary"]; v != "" {
		return v
	}
	for _, v := range values {
		if strings.Contains(v, "@") {
			return v
		}
	}
	return ""
}

// word keeps an unknown code printable; a code is one word of letters and digits.
func word(code string) string {
	ok := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' }
	if code == "" || len(code) > 80 || strings.IndexFunc(code, func(r rune) bool { return !ok(r) }) >= 0 {
		return "an unreadable code"
	}
	return code
}
