package hosttest

import (
	"encoding/json"
	"net/http"
	"strings"
)

// admin serves the host's own endpoints, all but the ping for the master key only.
func (h *Host) admin(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(strings.ToLower(r.URL.Path), "/admin/")
	if path == "host/ping" {
		return
	}
	if h.level(r) < 2 {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	name, isFunction := strings.CutPrefix(path, "functions/")
	switch {
	case r.Method == http.MethodPost && path == "host/drain":
		h.deafen()
		w.WriteHeader(http.StatusAccepted)
	case r.Method == http.MethodGet && path == "host/drain/status":
		h.drainStatus(w)
	case r.Method == http.MethodGet && path == "host/status":
		writeJSON(w, object{"id": "local", "state": "Running", "version": hostVersion})
	case r.Method == http.MethodPost && isFunction:
		h.manual(w, r, name)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (h *Host) drainStatus(w http.ResponseWriter) {
	state, n := "Disabled", h.calls.Load()
	if h.listening.Err() != nil {
		state = "InProgress"
		if n == 0 {
			state = "Completed"
		}
	}
	writeJSON(w, object{"state": state, "outstandingInvocations": n, "outstandingRetries": 0})
}

// manual starts a function with the input of the body {"input": "…"} and does not wait for it.
func (h *Host) manual(w http.ResponseWriter, r *http.Request, name string) {
	f := h.function(name)
	if f == nil || f.is("httpTrigger") {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	var body struct{ Input string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&body); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	go func() { _ = h.Invoke(h.ctx, f.name, body.Input) }() // logged
	w.WriteHeader(http.StatusAccepted)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write([]byte(encode(v)))
}
