// Package receipt is the signed proof of one mailbox: two files that anyone can check without Mailferry's app, its
// storage or its operator.
//
// # The leaves file
//
// One line per item that was found on the target, sorted by folder path (name by name, bytewise), then key:
//
//	{"folder":["Inbox"],"key":"…","class":"IPM.Note","received":"…","bytes":1,"depth":"content","digest":"…","leaf":"…"}
//
// Lines end in a line feed, the last one too. leaf is the item's leaf hash: SHA-256 over the byte 0x00 and the line up to
// the comma before "leaf", closed by a brace. So a line can be checked alone, and what is hashed can be read.
//
// A digest of content is that of the item as it was read back from the target in the state in which it is listed now; an
// earlier verification by the same release may have read it. What was read is kept in storage until then, so a receipt is
// as good as that storage and its key are guarded.
//
// # The receipt
//
// A JSON object. Its tree is the Merkle tree of RFC 6962 section 2.1 over the leaf hashes in the order of the lines
// (leaves 0x00, nodes 0x01). Besides the root it holds the roots of the subtrees of width leaves each, the last one of
// what is left; width is the smallest power of two that makes them at most [MaxSubtrees]. With them a wrong line is named
// exactly in a mailbox of up to 1,024 items, and to a few lines in a larger one.
//
// # The signature
//
// Ed25519 over the receipt without its white space and without the member value of signature, which is the last member of
// the last member. The bytes of the file are signed, not values that a program has read and written again: a field that a
// later version adds does not break an older receipt, and the algorithm and the key are signed too. White space is left
// out because editors and mail change it. Nothing of Mailferry is needed to check it:
//
//	jq -cj 'del(.signature.value)' R.json > payload
//	jq -r .signature.value  R.json | base64 -d > value
//	jq -r .signature.public R.json | base64 -d | openssl pkey -pubin -inform DER -out key.pem
//	openssl pkeyutl -verify -rawin -pubin -inkey key.pem -in payload -sigfile value
//
// (jq writes a few control characters in another way; a receipt with one in a folder's name needs ferry.) A key is known
// by its fingerprint, the SHA-256 of its DER form: openssl pkey -pubin -in key.pem -outform DER | sha256sum
package receipt
