// Package hosttest is a local Azure Functions host for custom handlers. It behaves as the host's source and
// documentation say, its traps included, so that a handler which works here works there:
//
//	package     host.json and one function.json per direct child folder; app settings, overrides, %NAME%
//	processes   one per scale group, restarted by the published rules, stopped with SIGKILL only
//	invocation  POST /{function} with an envelope; the answer decides success, failure or a hang
//	Service Bus peek-lock, one message at a time per call; success completes, failure abandons at once
//	timers      NCRONTAB, one run at a time, the missed run made up for at start
//	HTTP        /api/{route} with keys, passed on as envelope, forwarded or proxied
//
// Not offered: other triggers, input and output bindings other than http, batches (cardinality many), retry
// policies, dynamic concurrency, identity-based connections. They are refused by name.
package hosttest
