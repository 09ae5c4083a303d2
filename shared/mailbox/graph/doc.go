// Package graph is a mailbox in Exchange Online, through the mailbox import and export APIs of Microsoft Graph.
//
// One [Client] per app registration, one [Mailbox] per mailbox. Calls go through the Graph SDK's request adapter,
// which signs them; the two calls that carry items, export and import, stream and so use net/http directly. All of
// a mailbox's requests pass the same line, from the caller down:
//
//	slots   at most four requests of a mailbox under way, the published limit per app and mailbox
//	gates   wait for the mailbox's fence and the app's when that is short, else mailbox.Throttled
//	heed    raise the fence that a 429 or 503 asks for
//	tame    make error answers safe for the SDK
//	stall   break off what does not move any more
//
// Reads are tried again here; an import never is, once its last byte was handed over, because an import has no
// idempotency key: its outcome is then mailbox.ErrUnknown.
//
// Error texts and logs hold neither addresses, URLs, tokens nor messages of the service, only its codes.
package graph
