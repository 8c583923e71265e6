# Installs the scripts, and makes the Debian package: `cpack -G DEB` in the build tree. scripts/release
# makes all files of a release.
include(GNUInstallDirs)

# Copies of the libraries that not every Linux has.
if(NNMF_BUNDLE_LIBRARIES)
  install(RUNTIME_DEPENDENCY_SET nnmf_libraries DESTINATION ${CMAKE_INSTALL_LIBDIR}
    PRE_EXCLUDE_REGEXES "ld-linux" "lib(c|m|dl|rt|pthread|mvec|gcc_s|stdc\\+\\+)\\.so")
endif()

# In the layout of a checkout, so that fetch-data finds checksums/.
set(installed_scripts ${CMAKE_INSTALL_DATADIR}/nnmf-train/scripts)
install(PROGRAMS scripts/fetch-data scripts/plot scripts/plot-robustness scripts/convert-weights
  DESTINATION ${installed_scripts})
install(FILES scripts/pictures.py DESTINATION ${installed_scripts})
install(DIRECTORY scripts/checksums DESTINATION ${installed_scripts})

set(CPACK_PACKAGE_NAME nnmf-train)
set(CPACK_PACKAGE_VENDOR "The nnmf-train authors")
set(CPACK_PACKAGE_CONTACT
  "The nnmf-train authors <maintainers@users.noreply.r-seed-22e8d0a0.example>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "trains the deep NNMF network for images")
set(CPACK_PACKAGE_DESCRIPTION
"The layers of the network are non-negative matrix factorisations: iterations
for every position of every image, trained with a backward rule of their own.
nnmf-train trains the network on CIFAR-10, MNIST and Fashion-MNIST, tests it,
draws what it has learned, and measures its robustness.
.
The same command gives the same bits, and an interrupted run can be resumed
bit for bit.")
if(NOT NNMF_HAS_CUDA)
  string(APPEND CPACK_PACKAGE_DESCRIPTION " This package uses the CPU only.")
endif()
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE
  GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
# The default of `cpack`.
set(CPACK_GENERATOR DEB)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/debian.cmake)
set(CPACK_NNMF_SOURCE ${PROJECT_SOURCE_DIR})

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
# `bench` measures BLAS, fetch-data downloads, plot draws.
set(CPACK_DEBIAN_PACKAGE_SUGGESTS
  "curl, dataset-fashion-mnist, libopenblas0, python3, python3-matplotlib")
include(CPack)
