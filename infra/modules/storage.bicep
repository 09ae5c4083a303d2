metadata name = 'Storage'
metadata description = 'One storage account: the ledger in tables; manifests, staged items, receipts and reports in blobs; the package; what the Functions host keeps.'

@description('Required. Its name, 3 to 24 lower-case letters and digits.')
param name string

@description('Required. Region.')
param location string

@description('Optional. Tags.')
param tags object = {}

@description('Required. Redundancy.')
param sku string

@description('Required. Reachable through private endpoints only.')
param private bool

@description('Required. Days after which a staged item is deleted that was left behind.')
param stagingDays int

@description('Required. Days after which a manifest is deleted.')
param manifestDays int

var tables = ['waves', 'mailboxes', 'groups', 'fences', 'problems']
var containers = ['manifests', 'staging', 'receipts', 'reports']
var packages = 'packages' // the deployed zip

resource account 'Microsoft.Storage/storageAccounts@2025-08-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: sku }
  properties: {
    accessTier: 'Hot'
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    publicNetworkAccess: private ? 'Disabled' : 'Enabled'
    networkAcls: { bypass: 'None', defaultAction: private ? 'Deny' : 'Allow' }
  }

  resource blobs 'blobServices' = {
    name: 'default'
    // No soft delete: a staged item that was deleted is mail that must be gone.
    properties: { deleteRetentionPolicy: { enabled: false } }

    resource containersOf 'containers' = [
      for container in concat(containers, [packages]): {
        name: container
        properties: { publicAccess: 'None' }
      }
    ]
  }

  resource rows 'tableServices' = {
    name: 'default'

    resource tablesOf 'tables' = [for table in tables: { name: table }]
  }

  // Runs about daily, so that a blob may stay two days longer.
  resource lifecycle 'managementPolicies' = {
    name: 'default'
    properties: {
      policy: {
        rules: [
          for rule in [
            { container: 'staging', days: stagingDays }
            { container: 'manifests', days: manifestDays }
          ]: {
            name: rule.container
            type: 'Lifecycle'
            definition: {
              filters: { blobTypes: ['blockBlob'], prefixMatch: ['${rule.container}/'] }
              actions: { baseBlob: { delete: { daysAfterModificationGreaterThan: rule.days } } }
            }
          }
        ]
      }
    }
    dependsOn: [blobs]
  }
}

@description('Resource ID.')
output id string = account.id

@description('Name.')
output name string = account.name

@description('Address of the blobs.')
output blobUri string = account.properties.primaryEndpoints.blob

@description('Address of the tables.')
output tableUri string = account.properties.primaryEndpoints.table
