# Rearranges the installed files for a Debian package. CPack runs this before packing.
set(usr ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/usr)
set(documents ${usr}/share/doc/nnmf-train)

function(compress file)
  execute_process(COMMAND gzip -9nf ${file} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

compress(${usr}/share/man/man1/nnmf-train.1)
file(MAKE_DIRECTORY ${usr}/share/zsh/vendor-completions)
file(RENAME ${usr}/share/zsh/site-functions/_nnmf-train
  ${usr}/share/zsh/vendor-completions/_nnmf-train)
file(REMOVE_RECURSE ${usr}/share/zsh/site-functions)

file(MAKE_DIRECTORY ${documents})
configure_file(${CPACK_NNMF_SOURCE}/LICENSE ${documents}/copyright COPYONLY)
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC) # or $SOURCE_DATE_EPOCH
set(see "Version ${CPACK_PACKAGE_VERSION}")
if(EXISTS ${CPACK_NNMF_SOURCE}/CHANGELOG.md)
  configure_file(${CPACK_NNMF_SOURCE}/CHANGELOG.md ${documents}/CHANGELOG.md COPYONLY)
  compress(${documents}/CHANGELOG.md)
  string(APPEND see ": see CHANGELOG.md.gz")
endif()
file(WRITE ${documents}/changelog
"nnmf-train (${CPACK_PACKAGE_VERSION}) unstable; urgency=medium

  * ${see}.

 -- ${CPACK_PACKAGE_CONTACT}  ${date}
")
compress(${documents}/changelog)
