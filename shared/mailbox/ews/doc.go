// Package ews reads mailboxes from an on-premises Exchange (2013 to SE) through Exchange Web Services. A service
// account with the role ApplicationImpersonation acts as the mailbox; several accounts share the mailboxes, because
// Exchange counts requests per account.
//
//	Client.Source    GetFolder(msgfolderroot): the mailbox is there and may be opened
//	Source.Folders   GetFolder(well-known names), FindFolder(Deep) in pages
//	Source.Items     FindItem in overlapping pages
//	Source.Changes   SyncFolderItems from a state
//	Source.Export    ExportItems in batches, streamed
//
// All requests read, so all may be sent again.
package ews
