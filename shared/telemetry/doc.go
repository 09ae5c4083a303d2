// Package telemetry tells what Mailferry does: what one delivery asked of the two sides, in a [Tally]; spans that make
// one mailbox one trace from submission to receipt; and metrics. Both are exported by OTLP over HTTP when there is an
// endpoint, and cost next to nothing when there is none.
//
//	trace of a mailbox   its ID is a hash of wave and mailbox, so that every delivery finds it, also that of a message
//	                     without properties; its root is a span from the submission to the mailbox's end
//	a delivery           a span below the one that sent the message, linked to the host's span of the invocation
//	a message            carries traceparent and tracestate among its properties; the latter names the span of the
//	                     submission or tick that began the mailbox's work, and deliveries link to it
//	a request, a tick    a span below the host's span of the invocation
//
// Nothing here holds an address, a subject, a token or a URL. The provider of spans is never made the global one: the
// Graph SDK would then send the URLs it calls, which hold addresses.
package telemetry
