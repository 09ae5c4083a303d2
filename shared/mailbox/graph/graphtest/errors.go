package graphtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

// refusal is an answer that is not a success, in Graph's shape.
type refusal struct {
	status        int
	code, message string
	retryAfter    string // header, left out when ""
	allow         string // header, left out when ""
	empty         bool   // no body at all
}

func (e *refusal) Error() string { return fmt.Sprintf("%d %s: %s", e.status, e.code, e.message) }

func refuse(status int, code, format string, a ...any) *refusal {
	return &refusal{status: status, code: code, message: fmt.Sprintf(format, a...)}
}

func badRequest(format string, a ...any) *refusal {
	return refuse(http.StatusBadRequest, "BadRequest", format, a...)
}

// asRefusal turns an error of the store into the code the service has for it.
func asRefusal(err error) *refusal {
	var r *refusal
	var f *fts.FormatError
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &r):
		return r
	case errors.As(err, &big):
		return refuse(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "The request body is too large.")
	case errors.Is(err, exchangetest.ErrNoFolder):
		return refuse(http.StatusNotFound, "ErrorFolderNotFound", "The specified folder could not be found in the store.")
	case errors.Is(err, exchangetest.ErrNoItem):
		return itemNotFound()
	case errors.Is(err, exchangetest.ErrFolderExists):
		return refuse(http.StatusConflict, "ErrorFolderExists", "A folder with the specified name already exists.")
	case errors.Is(err, exchangetest.ErrFolderName):
		return refuse(http.StatusBadRequest, "ErrorInvalidRequest", "The folder name is not valid.")
	case errors.Is(err, exchangetest.ErrChanged):
		// 412 is what messages answer; see the reports on ErrorIrresolvableConflict.
		return refuse(http.StatusPreconditionFailed, "ErrorIrresolvableConflict", "The send or update operation could not be performed because the change key passed in the request does not match the current change key for the item.")
	case errors.Is(err, exchangetest.ErrQuota):
		return quotaExceeded()
	case errors.As(err, &f):
		return refuse(http.StatusInternalServerError, "ErrorCorruptData", "Data is corrupt.")
	}
	return refuse(http.StatusInternalServerError, "ErrorInternalServerError", "An internal server error occurred. The operation failed.")
}

func itemNotFound() *refusal {
	return refuse(http.StatusNotFound, "ErrorItemNotFound", "The specified object was not found in the store.")
}

func quotaExceeded() *refusal {
	return refuse(http.StatusForbidden, "ErrorQuotaExceeded", "The mailbox has exceeded its quota.")
}

func malformedID() *refusal {
	return refuse(http.StatusBadRequest, "ErrorInvalidIdMalformed", "Id is malformed.")
}

// notAllowed refuses a method where only others are allowed.
func notAllowed(code string, allowed ...string) *refusal {
	r := refuse(http.StatusMethodNotAllowed, code, "Specified HTTP method is not allowed for the request target.")
	r.allow = strings.Join(slices.Sorted(slices.Values(allowed)), ", ")
	return r
}

type errorBody struct {
	Error errorDetail `json:"error"`
}

type errorDetail struct {
	Code       string      `json:"code"`
	Message    string      `json:"message"`
	InnerError *innerError `json:"innerError,omitempty"`
}

type innerError struct {
	Code            string `json:"code,omitempty"`
	Message         string `json:"message,omitempty"`
	Status          string `json:"status,omitempty"`
	Date            string `json:"date"`
	RequestID       string `json:"request-id"`
	ClientRequestID string `json:"client-request-id"`
}

// writeRefusal answers with Graph's error shape. The request's ids must already be among the headers.
func (s *Server) writeRefusal(w http.ResponseWriter, e *refusal) {
	h := w.Header()
	if e.retryAfter != "" {
		h.Set("Retry-After", e.retryAfter)
	}
	if e.allow != "" {
		h.Set("Allow", e.allow)
	}
	if e.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", client_id="`+graphAppID+`"`)
	}
	if e.empty {
		w.WriteHeader(e.status)
		return
	}
	h.Set("Content-Type", jsonType)
	w.WriteHeader(e.status)
	inner := innerError{
		Date:            s.clock.Now().UTC().Format("2006-01-02T15:04:05"),
		RequestID:       h.Get("request-id"),
		ClientRequestID: h.Get("client-request-id"),
	}
	if e.code == "TooManyRequests" {
		inner.Code, inner.Status, inner.Message = "429", "429", "Please retry after"
	}
	b, _ := json.Marshal(errorBody{errorDetail{Code: e.code, Message: e.message, InnerError: &inner}})
	_, _ = w.Write(b) // a client that has gone has no use for the rest
}
