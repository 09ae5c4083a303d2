// Package graphtest is a Microsoft Graph on loopback, as far as the mailbox import and export APIs go: a test starts
// it, adds mailboxes of package exchangetest, and points any Graph client at [Server.URL].
//
// It answers as published and refuses what is documented as refused. Where the published contract is silent, the
// choice made here is the less convenient one for a client:
//
//   - Pages hold 10 entries unless asked otherwise; $top above 1000 or below 1 is a 400.
//   - Lists come newest first and are cut by $skip, so a change between two pages repeats or hides entries.
//   - MB is 1,000,000 bytes; a request that would pass 150 MB in 5 minutes is refused before its body counts. Bodies
//     count as they come over the wire, compressed or not.
//   - Refused requests count as requests.
//   - Times lose their fractions of a second in extended properties.
//   - Ids of extended properties come back in lower-case hex without leading zeros ("SystemTime 0xe06").
//   - FolderId of an import is an id, never a well-known name.
//   - Data of an import is base64 in one line; ItemId and ChangeKey are left out where they do not belong, not null.
//   - Answers in a batch come in another order than its requests, unless those depend on each other.
//   - v1.0 does not know archive mailboxes.
//   - The change key that an import answers has another shape than the one a listing shows; update takes both.
package graphtest
