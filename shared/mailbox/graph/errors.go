package graph

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	abs "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// failure is an answer that is no success (status ≥ 300), or no answer (status 0).
type failure struct {
	status int
	code   string // the service's word for it, "" when it said none
	cause  error  // why there is no answer; holds no URL
}

func (f *failure) Error() string {
	if f.status == 0 {
		return f.cause.Error()
	}
	if f.code == "" {
		return fmt.Sprintf("status %d", f.status)
	}
	return fmt.Sprintf("status %d, %s", f.status, f.code)
}

func (f *failure) Unwrap() error { return f.cause }

// failed turns what the SDK or net/http returned into a failure. The end of ctx and a gate that refused stay as
// they are. An ODataError is never formatted: that panics when the answer has no message, and messages quote
// addresses.
func failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var throttled *mailbox.Throttled
	if errors.As(err, &throttled) {
		return throttled
	}
	var odata *odataerrors.ODataError
	if errors.As(err, &odata) {
		return &failure{status: odata.ResponseStatusCode, code: odataCode(odata)}
	}
	var api *abs.ApiError
	if errors.As(err, &api) {
		return &failure{status: api.ResponseStatusCode}
	}
	var cred *credentialError
	if errors.As(err, &cred) {
		return cred.verdict()
	}
	return &failure{cause: bare(err)}
}

func odataCode(e *odataerrors.ODataError) string {
	main := e.GetErrorEscaped()
	if main == nil || main.GetCode() == nil {
		return ""
	}
	return clean(*main.GetCode())
}

// answerCode reads the code of an error answer of the form {"error":{"code":"…"}}.
func answerCode(body io.Reader) string {
	b, _ := io.ReadAll(io.LimitReader(body, maxError))
	var answer struct {
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	if json.Unmarshal(b, &answer) != nil {
		return ""
	}
	return clean(answer.Error.Code)
}

// clean lets through what looks like a code, so that no sentence with an address gets into errors and logs.
func clean(code string) string {
	if len(code) > 64 || strings.ContainsFunc(code, func(r rune) bool {
		return !(r == '_' || r == '.' || r == '-' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z')
	}) {
		return "UnreadableCode"
	}
	return code
}

// bare drops the URL that net/http puts around errors: it holds the address, the mailbox or the import token.
func bare(err error) error {
	for {
		var u *url.Error
		if !errors.As(err, &u) {
			return err
		}
		err = u.Err
	}
}

// passing reports whether the same request may succeed a little later.
func (f *failure) passing() bool {
	switch f.status {
	case 0, http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return f.status >= 500 && itemReason(f.code) == "" && f.code != "ErrorQuotaExceeded"
}

// verdict translates a failure of a request that may be repeated into the words of package mailbox.
func (l *line) verdict(f *failure, a ask) error {
	switch {
	case f.status == http.StatusTooManyRequests:
		return l.throttled()
	case f.code == "MailboxNotEnabledForRESTAPI", f.code == "ErrorInvalidUser":
		return fmt.Errorf("%w: %w", f, mailbox.ErrNoMailbox)
	case f.code == "ErrorQuotaExceeded", f.status == http.StatusInsufficientStorage:
		return fmt.Errorf("%w: %w", f, mailbox.ErrQuota)
	case f.status == http.StatusUnauthorized:
		return fmt.Errorf("%w: token refused: %w", f, mailbox.ErrAccess)
	case f.status == http.StatusForbidden:
		return fmt.Errorf("%w: grant the app %s: %w", f, a.needs, mailbox.ErrAccess)
	case f.status == http.StatusNotFound:
		return fmt.Errorf("%w: %w", f, absent(a))
	case f.status == http.StatusGone:
		return fmt.Errorf("%w: %w", f, mailbox.ErrStartAgain)
	case f.passing():
		return fmt.Errorf("%w: %w", f, mailbox.ErrUnavailable)
	}
	return f
}

func absent(a ask) error {
	if a.absent == nil {
		return mailbox.ErrNoFolder
	}
	return a.absent
}

// itemReason says which codes are about the item itself, at whatever status, and what they mean. "" for others.
func itemReason(code string) mailbox.Reason {
	switch code {
	case "ErrorItemNotFound", "ErrorMessageNotFound":
		return mailbox.Gone
	case "ErrorCorruptData", "ErrorItemCorrupt", "ErrorContentConversionFailed", "ErrorCannotOpenFileAttachment":
		return mailbox.Corrupt
	case "ErrorMessageSizeExceeded", "ErrorAttachmentSizeLimitExceeded", "ErrorRequestSizeExceeded":
		return mailbox.TooBig
	}
	switch {
	case code == "ErrorInvalidUser", code == "ErrorInvalidRequest", folderCode(code):
		return ""
	case strings.HasPrefix(code, "ErrorInvalid"): // ErrorInvalidRecipients and its like
		return mailbox.Refused
	}
	return ""
}

// folderCode says which codes are about the id a request was made for: of a folder, except in an export.
func folderCode(code string) bool {
	switch code {
	case "ErrorFolderNotFound", "ErrorParentFolderNotFound", "ErrorSyncFolderNotFound", "ErrorInvalidFolderId",
		"ErrorInvalidId", "ErrorInvalidIdMalformed", "ErrorInvalidIdEmpty":
		return true
	}
	return false
}

// tagged marks the errors of a credential, which the SDK passes on among all others.
type tagged struct{ azcore.TokenCredential }

func (t tagged) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := t.TokenCredential.GetToken(ctx, o)
	if err != nil {
		return token, &credentialError{err}
	}
	return token, nil
}

type credentialError struct{ cause error }

func (e *credentialError) Error() string { return "get token: " + signInCode(e.cause) }
func (e *credentialError) Unwrap() error { return e.cause }

// verdict tells a sign-in that is refused for good from one that could not be made just now. azidentity marks the
// former; its error text holds the answer of the sign-in service, of which only the code is kept.
func (e *credentialError) verdict() error {
	var final interface{ NonRetriable() }
	if errors.As(e.cause, &final) {
		return fmt.Errorf("get token: %s: %w", signInCode(e.cause), mailbox.ErrAccess)
	}
	return &failure{cause: errors.New("get token: " + signInCode(e.cause))}
}

func signInCode(err error) string {
	if code := regexp.MustCompile(`AADSTS\d+`).FindString(err.Error()); code != "" {
		return code
	}
	return "the credential has none to give"
}
