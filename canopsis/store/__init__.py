"""MongoDB by pymongo: one module a collection, writes as data, versioned migrations."""
