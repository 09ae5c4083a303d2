using './main.bicep'

// Production: Premium Service Bus, private endpoints, storage in three zones. Copy it, fill in what is marked, and deploy
// with ./scripts/deploy --parameters YOUR-COPY.bicepparam. Secrets are read from the environment, never written here.

param name = 'mailferry' // fill in: 3 to 11 lower-case letters and digits
param ewsUrl = 'https://mail.example.org/EWS/Exchange.asmx' // fill in
param ewsAccounts = readEnvironmentVariable('MAILFERRY_EWS_ACCOUNTS', '') // several accounts share the load
param receiptKey = readEnvironmentVariable('MAILFERRY_RECEIPT_KEY', '')

param verify = 'sample'
param maximumInstances = 100
param alwaysReady = [
  { name: 'http', instanceCount: 1 } // submitting a wave does not wait for a cold start
]
param serviceBusSku = 'Premium'
param messagingUnits = 1
param private = true
param addressPrefix = '10.88.0.0/24' // fill in: free in the network it is peered with
param ewsAddress = '' // fill in, unless public DNS leads to your Exchange: its private address in that network
param fixedAddress = false // true if a firewall before your Exchange must know where calls come from
param signInClientId = '' // fill in: see "Sign-in" in README.md
param allowedAddresses = [] // fill in: from where operators work
param operatorsGroupId = '' // fill in
param storageSku = 'Standard_ZRS'
param logDays = 90
param purgeProtection = true
param alertEmails = ['operators@example.org'] // fill in
